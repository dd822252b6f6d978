"""Benchmarks: one script a figure, each printing JSON lines; `make bench` runs them all."""

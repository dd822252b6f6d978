"""Fixtures and helpers that several tests share; no test module imports another."""

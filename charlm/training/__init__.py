"""Fitting a network to a corpus: the only room that needs torch."""

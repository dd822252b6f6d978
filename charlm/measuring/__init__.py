"""Measuring models and texts: scores of records, evaluation of a split, comparing models."""

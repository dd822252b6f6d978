"""Learning curves: what runs have logged, as text for a terminal or as a picture."""

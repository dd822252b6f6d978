"""Looking into a model: its surprise, its units, its memory, and how its gradient flows."""

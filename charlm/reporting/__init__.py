"""A run as one page for a browser: how it learned, what it predicts, and what is inside."""

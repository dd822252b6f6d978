"""charlm: turns text into a small recurrent language model and uses it as a Unix filter."""

__version__ = "0.1.0"

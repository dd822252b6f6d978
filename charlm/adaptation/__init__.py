"""Reading one text while learning from it: dynamic evaluation and the neural cache.

Every symbol is predicted before anything is learned from it, so what it costs is a code length:
who decodes knows all that was learned.
"""

from charlm.adaptation.reader import Reader, reader_of, text_nats

__all__ = ["Reader", "reader_of", "text_nats"]

"""Lossless compression: a model's predictions, and a range coder that spends bits as they say."""

from charlm.compression.archive import compress, decompress

__all__ = ["compress", "decompress"]

"""The compressed file: a header, what the range coder wrote, and a crc32 of both.

    8 bytes   MAGIC
    2         the format number: PLAIN, ADAPTING or STORED; this and all numbers are little-endian
    3 x 8     the beginnings of sha256 hashes of the model: its tokenizer (stored form, kind of
              record), the names and shapes of its weights, and the weights themselves
    8         the fingerprint of its arithmetic on the machine that compressed
    8         the length of the original in bytes
    4         the crc32 of the original
    41        where the format is ADAPTING, how the model learns from the text: an AdaptationConfig
    ...       the coder's words, 4 bytes each; where the format is STORED, the original
    4         the crc32 of all that stands before

What the model can't make smaller is STORED, so that no file is longer than the original by more
than 58 bytes; then any model will do, on any machine.

The model's file and history may change, as long as it predicts the same. Both ways run one stream
on one thread: two threads may add up a product in another order.
"""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import BinaryIO

import numpy as np

from charlm.adaptation import Reader, reader_of
from charlm.compression.coding import Decoder, Encoder
from charlm.compression.prediction import fingerprint
from charlm.compression.spelling import Spelling, read
from charlm.config import PLAINLY, AdaptationConfig
from charlm.errors import ConfigError, DataError
from charlm.failures import named
from charlm.model_file import Model
from charlm.process import blas_threads

MAGIC = b"\x89clm\r\n\x1a\n"  # shows what takes it for text
PLAIN, ADAPTING, STORED = 1, 2, 3
PIECE = 1 << 12  # bytes given out at a time

_HEADER = struct.Struct("<8sH8s8s8s8sQI")
_ADAPTATION = struct.Struct("<BddIIdd")  # the fields in their order; a cache of 0 is none
_ADAPTED = ("none", "network", "all", "ngram")  # by their number there
_CRC = struct.Struct("<I")
_DIFFERENT = ("its tokenizer", "the shape of its network", "its weights (another training of it)")


def compress(
    model: Model,
    source: BinaryIO,
    advance: Callable[[int], None] = lambda size_bytes: None,
    config: AdaptationConfig = PLAINLY,
) -> tuple[bytes, int]:
    """The compressed file of all that `source` holds, and how many bytes that was.

    `advance` hears how many bytes more are done, and `config` says how the model learns from the
    text on its way. Beside the model's, the memory needed is that of the original and the result.
    """
    fingered = fingerprint(_reader(model, config), config)
    spelling = Spelling(model.tokenizer, model.records)
    encoder = Encoder(_reader(model, config), spelling)
    original = bytearray()

    def kept() -> Iterator[bytes]:
        for chunk in read(source):
            original.extend(chunk)
            yield chunk

    reported = 0
    for text in spelling.texts(kept()):
        with blas_threads(1):
            for step in spelling.steps(text):
                encoder.add(step)
        advance(len(original) - reported)
        reported = len(original)
    number, body = PLAIN, encoder.finish()
    if not config.off:
        number = ADAPTING
        adapt, *values = config.to_dict().values()
        body = _ADAPTATION.pack(_ADAPTED.index(adapt), *(value or 0 for value in values)) + body
    number, body = _shorter(number, body, bytes(original))
    crc = zlib.crc32(original)
    data = _HEADER.pack(MAGIC, number, *_hashes(model), fingered, len(original), crc) + body
    return data + _CRC.pack(zlib.crc32(data)), len(original)


def decompress(model: Model, source: BinaryIO, name: str) -> Iterator[bytes]:
    """The bytes that were compressed, in pieces; `name` is what `source` is called in messages.

    Raises DataError, before there is a piece, for a file that is not whole, not ours, or of
    another model or a machine whose arithmetic differs; and after the last piece, or among them,
    where the bytes are not those that were compressed.
    """
    with named(name):
        data = source.read(_HEADER.size)
    if data[: len(MAGIC)] != MAGIC:
        raise DataError(f"{name} is not a file that `charlm compress` made.")
    with named(name):
        data += source.read()
    body, end = data[: -_CRC.size], data[-_CRC.size :]
    if len(body) < _HEADER.size or _CRC.pack(zlib.crc32(body)) != end:
        raise DataError(f"{name} is damaged or cut off; copy it again from where it was made.")
    _, number, *hashes, fingered, size_bytes, crc = _HEADER.unpack_from(body)
    if number not in (PLAIN, ADAPTING, STORED):
        raise DataError(
            f"{name} has format {number}, and this charlm reads {PLAIN} to {STORED}; upgrade it."
        )
    if number == STORED:
        return _stored(body[_HEADER.size :], size_bytes, crc, name)
    for what, theirs, ours in zip(_DIFFERENT, hashes, _hashes(model), strict=True):
        if theirs != ours:
            raise DataError(
                f"{name} was compressed with another model, and {what} differs from this one's;"
                " give the model that compressed it."
            )
    begin, config = _HEADER.size, PLAINLY
    if number == ADAPTING:
        begin += _ADAPTATION.size
        config = _adaptation(body, name)
    if fingered != fingerprint(_reader(model, config), config):
        raise DataError(
            f"{name}: this machine computes the model's probabilities differently, to the last"
            " bit, from the one that compressed it; decompress it there (or with the same numpy"
            " and torch)."
        )
    spelling = Spelling(model.tokenizer, model.records)
    decoder = Decoder(_reader(model, config), spelling, body[begin:], name)
    return _pieces(decoder, size_bytes, crc, name)


def _shorter(number: int, body: bytes, original: bytes) -> tuple[int, bytes]:
    return (STORED, original) if len(body) > len(original) else (number, body)


def _stored(original: bytes, size_bytes: int, crc: int, name: str) -> Iterator[bytes]:
    if (len(original), zlib.crc32(original)) != (size_bytes, crc):
        raise DataError(f"{name} is damaged; copy it again from where it was made.")
    return (original[begin : begin + PIECE] for begin in range(0, size_bytes, PIECE))


def _pieces(decoder: Decoder, size_bytes: int, crc: int, name: str) -> Iterator[bytes]:
    found, left = 0, size_bytes
    while left:
        piece = bytearray()
        with blas_threads(1):
            while left and len(piece) < PIECE:
                step = decoder.next(left)
                left -= len(step)
                piece += step
        found = zlib.crc32(piece, found)
        yield bytes(piece)
    if found != crc:
        raise DataError(
            f"{name} came out other than it went in: this machine's arithmetic differs from that"
            " of the one that compressed it; decompress it there."
        )


def _reader(model: Model, config: AdaptationConfig) -> Reader:
    return reader_of(model.network, model.weights, config, model.counts)


def _adaptation(body: bytes, name: str) -> AdaptationConfig:
    """What the model learned from the text as it was compressed."""
    try:
        adapt, *values = _ADAPTATION.unpack_from(body, _HEADER.size)
        names = [f.name for f in fields(AdaptationConfig)]
        found = dict(zip(names, [_ADAPTED[adapt], *values], strict=True))
        return AdaptationConfig.from_dict({**found, "cache": found["cache"] or None})
    except (struct.error, IndexError, ConfigError) as error:
        raise DataError(f"{name} is damaged; copy it again from where it was made.") from error


def _hashes(model: Model) -> list[bytes]:
    """8 bytes each for what two models can differ in, in the order of _DIFFERENT."""
    arrays = model.arrays()
    shapes = {name: arrays[name].shape for name in sorted(arrays)}
    weights = hashlib.sha256()
    for name in shapes:
        kind = arrays[name].dtype.newbyteorder("<")
        weights.update(np.ascontiguousarray(arrays[name], dtype=kind).ravel())
    words = hashlib.sha256(f"{model.records}\n{model.tokenizer.to_json()}".encode())
    names = hashlib.sha256(json.dumps(shapes).encode())
    return [digest.digest()[:8] for digest in (words, names, weights)]

"""The range coder between a model's predictions and bytes: constriction's, one symbol at a time.

constriction takes probabilities as floats and makes its own whole numbers of them. Here they are
whole numbers already: float64 `counts` that sum to 2**24 - n, to which its "fast" rounding adds 1
each, after a multiplication by exactly 1. All of that is exact in float64, so that the code is a
function of the counts alone, on every machine.
"""

import math

import numpy as np
from constriction import stream

from charlm.adaptation import Reader
from charlm.compression.prediction import END, TOTAL, LiteralPredictor, Predictor
from charlm.compression.spelling import Spelling, Step
from charlm.errors import DataError

WORD_BYTES = 4  # of the coder's output
SLACK_BITS = 64  # the coder's own state


class Encoder:
    """Steps in, compressed bytes out."""

    def __init__(self, reader: Reader, spelling: Spelling) -> None:
        self._escape = spelling.escape
        self._tokens = Predictor(reader, spelling)
        self._literals = LiteralPredictor()
        self._coder = stream.queue.RangeEncoder()

    def add(self, step: Step) -> None:
        """Takes the next step: an id, or bytes, which an escape precedes and END follows."""
        if isinstance(step, int):
            self._put(step, self._tokens)
            return
        self._put(self._escape, self._tokens)
        for byte in step:
            self._put(byte, self._literals)
        self._put(END, self._literals)

    def finish(self) -> bytes:
        """All that was taken, as a whole number of 4-byte words."""
        return self._coder.get_compressed().astype("<u4").tobytes()

    def _put(self, symbol: int, predictor: Predictor | LiteralPredictor) -> None:
        self._coder.encode(symbol, _model(predictor.counts()))
        predictor.read(symbol)


class Decoder:
    """Compressed bytes in, the text's bytes out; `name` is what the data is called in messages.

    What comes out never holds more information than what went in, so that data which was changed
    by hand cannot ask for an endless text.
    """

    def __init__(self, reader: Reader, spelling: Spelling, data: bytes, name: str) -> None:
        self._name = name
        if len(data) % WORD_BYTES:
            raise self._damage()
        self._escape = spelling.escape
        self._pieces = spelling.pieces
        self._tokens = Predictor(reader, spelling)
        self._literals = LiteralPredictor()
        words = np.frombuffer(data, dtype="<u4").astype(np.uint32)
        self._coder = stream.queue.RangeDecoder(words)
        self._bits_left = 8.0 * len(data) + SLACK_BITS

    def next(self, room: int) -> bytes:
        """The bytes of the next step, 1 to `room`. Raises DataError where there is no such step."""
        symbol = self._take(self._tokens)
        piece = self._literal(room) if symbol == self._escape else self._pieces[symbol]
        if not 0 < len(piece) <= room:
            raise self._damage()
        return piece

    def _literal(self, room: int) -> bytes:
        found = bytearray()
        while (byte := self._take(self._literals)) != END and len(found) <= room:
            found.append(byte)
        return bytes(found)

    def _take(self, predictor: Predictor | LiteralPredictor) -> int:
        counts = predictor.counts()
        try:
            symbol = self._coder.decode(_model(counts))
        except (AssertionError, ValueError) as error:
            raise self._damage() from error
        self._bits_left -= math.log2(TOTAL / (int(counts[symbol]) + 1))
        if self._bits_left < 0:
            raise self._damage()
        predictor.read(symbol)
        return symbol

    def _damage(self) -> DataError:
        return DataError(
            f"{self._name} is damaged, or this machine computed other probabilities than the one"
            " that compressed it; decompress it there, or compress the text again."
        )


def _model(counts: np.ndarray) -> stream.model.Categorical:
    return stream.model.Categorical(counts.astype(np.float64), lazy=True)

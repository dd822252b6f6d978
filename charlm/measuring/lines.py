"""What each line of a text costs a model, whatever the model's tokens are.

A model of running text reads the whole as one text, one of records reads each record on its own. A
token counts for the line in which it begins. A symbol outside the vocabulary costs as much as to
name one code point of all there are, so that a small vocabulary is no advantage.
"""

import math
import re
from collections.abc import Callable, Iterator

import numpy as np

from charlm.measuring.evaluation import raw_encoder
from charlm.measuring.parallel import records_nats, text_nats
from charlm.model_file import Model
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.text import opening
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.normalizing import normalized
from charlm.tokenizer.words import CODE_POINTS

NAMING_NATS = math.log(CODE_POINTS)

# A file as a record is one running text: nothing in it is a record's end.
_RECORD_ENDS = {
    "line": re.compile(r"\r?\n"),
    "blank": re.compile(r"\r?\n(?:\r?\n)+|\r?\n\Z"),
}


def line_sizes(data: bytes) -> np.ndarray:
    """The bytes (N,) of each line of a text that is not empty, with the newline that ends it."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
    if not len(ends) or ends[-1] < len(data):
        ends = np.append(ends, len(data))
    return np.diff(ends, prepend=0)


def line_nats(
    model: Model, text: str, advance: Callable[[int], None] = lambda tokens: None
) -> tuple[np.ndarray, int]:
    """The nats (N,) of each line of a text that is not empty, and how many symbols are unknown.

    An unknown symbol is read as <unk> where the model has it, and else is left out; either way the
    name of each of its characters is paid for. The boundary stands for the end of a record.
    `advance` gets how many more tokens were read.
    """
    engine = NumpyEngine(model.network, model.weights)
    tokens = _Tokens(model.tokenizer)
    count = text.count("\n") + (not text.endswith("\n"))
    ends = _RECORD_ENDS.get(model.records)
    boundary = model.tokenizer.boundary
    all_ids, all_lines = [], []
    for record, line, ended in _records(text, ends):
        ids, lines, last = tokens.read(record, line)
        all_ids.append(ids)
        all_lines.append(lines)
        if ended:
            all_ids.append(np.array([boundary]))
            all_lines.append(np.array([last]))
    ids = np.concatenate(all_ids)
    begin = opening(model.tokenizer, model.records)
    if ends is None and begin:
        nats = text_nats(engine, np.concatenate([begin, ids]), advance)[len(begin) :]
    elif ends is None:
        nats = text_nats(engine, ids, advance)
    else:
        nats = records_nats(engine, ids, boundary, advance)
    found = np.bincount(np.concatenate(all_lines), weights=nats, minlength=count)
    named = np.concatenate(tokens.named)
    return found + NAMING_NATS * np.bincount(named, minlength=count), tokens.unknown


def _records(text: str, ends: re.Pattern[str] | None) -> Iterator[tuple[str, int, bool]]:
    """Each record, the line in which it begins, and whether the text says where it ends."""
    begin = line = 0
    for match in ends.finditer(text) if ends is not None else ():
        yield text[begin : match.start()], line, True
        line += text.count("\n", begin, match.end())
        begin = match.end()
    if begin < len(text):
        yield text[begin:], line, False


class _Tokens:
    """Text to ids and the lines in which they begin.

    `unknown` counts the unknown symbols so far, and `named` has the line of each character of them.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.unknown = 0
        self.named: list[np.ndarray] = [np.empty(0, dtype=np.int64)]
        self._tokenizer = tokenizer
        self._encoder = raw_encoder(tokenizer)
        self._breaks = np.array([piece.count(b"\n") for piece in tokenizer.pieces])

    def read(self, record: str, line: int) -> tuple[np.ndarray, np.ndarray, int]:
        """The ids (T,) of a text that begins in `line`, their lines (T,), and its last line."""
        tokenizer = self._tokenizer
        record = normalized(record, tokenizer.normalize)
        ids = self._encoder.encode(record)
        if tokenizer.level == "char":
            breaks = np.frombuffer(record.encode("utf-32-le"), dtype="<u4") == ord("\n")
            lengths = np.ones(len(ids), dtype=np.int64)
        elif tokenizer.level == "word":
            words = tokenizer.splitter.split(record)
            breaks = np.array([word.endswith("\n") for word in words], dtype=bool)
            lengths = np.fromiter(map(len, words), np.int64, len(words))
        else:
            breaks, lengths = self._breaks[ids], None
        after = line + np.cumsum(breaks)
        lines = after - breaks
        last = int(after[-1]) if len(after) else line
        missing = ids < 0
        if missing.any():
            self.unknown += int(np.count_nonzero(missing))
            self.named.append(np.repeat(lines[missing], lengths[missing]))
            if tokenizer.unknown is None:
                ids, lines = ids[~missing], lines[~missing]
            else:
                ids = np.where(missing, tokenizer.unknown, ids)
        return ids, lines, last

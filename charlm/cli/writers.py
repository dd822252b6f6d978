"""What becomes of samples: text, JSON, a trace of every symbol, or only the chosen ones."""

import heapq
import math
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import click

from charlm.cli.shading import for_stdout, json_line, printable

if TYPE_CHECKING:
    import numpy as np

    from charlm.novelty import Index
    from charlm.sampling.generate import Row
    from charlm.sampling.text import Sample
    from charlm.tokenizer import Tokenizer

# A pipe is flushed this often: at once to the eye, and rarely enough to cost nothing.
FLUSH_EVERY_S = 0.05
RUNNERS_UP = 3  # likely symbols that a trace tells beside the one drawn


class Writer(Protocol):
    """Gets each sample's text in pieces, one sample after another."""

    def emit(self, row: "Row", text: str) -> None:
        """More of the row's text."""

    def ended(self, row: "Row", sample: "Sample") -> None:
        """The row's text is all there."""


class Plain:
    """The samples as text, flushed as they grow.

    `shown(row)` comes first, then the text, then `end`; a newline for an end is not doubled. `gap`
    stands between two samples.
    """

    def __init__(self, shown: Callable[["Row"], str], end: str = "\n", gap: str = "") -> None:
        self._shown = shown
        self._end = end
        self._gap = gap
        self._tail = ""
        self._current: int | None = None
        self._begun = False
        self._flushed = 0.0

    def emit(self, row: "Row", text: str) -> None:
        """Writes more of the row's text."""
        self._begin(row)
        self._write(text)

    def ended(self, row: "Row", sample: "Sample") -> None:
        """Writes the end."""
        self._begin(row)
        self._write("" if self._tail == self._end == "\n" else self._end)
        self._current = None
        sys.stdout.flush()

    def _begin(self, row: "Row") -> None:
        if self._current != row.k:
            self._write(self._gap if self._begun else "")
            self._begun = True
            self._current = row.k
            self._tail = ""
            self._write(self._shown(row))

    def _write(self, text: str) -> None:
        if not text:
            return
        sys.stdout.write(for_stdout(text))
        self._tail = text[-1]
        now = time.monotonic()
        if now - self._flushed > FLUSH_EVERY_S:
            sys.stdout.flush()
            self._flushed = now


class Json:
    """The samples as JSON objects, one a line, with what `more(text)` says of each."""

    def __init__(
        self,
        shown: Callable[["Row"], str],
        prompt: Callable[["Row"], str],
        seed: int,
        more: Callable[[str], dict[str, Any]] | None = None,
    ) -> None:
        self._shown = shown
        self._prompt = prompt
        self._seed = seed
        self._more = more
        self._pieces: list[str] = []

    def emit(self, row: "Row", text: str) -> None:
        """Keeps more of the row's text."""
        self._pieces.append(text)

    def ended(self, row: "Row", sample: "Sample") -> None:
        """Writes the sample."""
        drawn = "".join(self._pieces)
        self._pieces = []
        bits = bits_per_char(row, sample)
        found = {
            "sample": row.k,
            "seed": self._seed,
            "prompt": printable(self._prompt(row)),
            "text": printable(self._shown(row) + drawn),
            "bits_per_char": round(bits, 4) if math.isfinite(bits) else None,
            "stopped": sample.stopped,
        }
        found |= self._more(drawn) if self._more is not None else {}
        click.echo(json_line(found))
        sys.stdout.flush()


class Chosen:
    """Hands on to `writer` only some samples, when they are whole.

    `unique` leaves out what came before, `novel(text)` what is not new; of the rest the `best` most
    likely per character are handed on at the end, or without it all of them at once.
    """

    def __init__(
        self,
        writer: Writer,
        *,
        best: int | None = None,
        unique: bool = False,
        novel: Callable[[str], bool] | None = None,
    ) -> None:
        self.not_novel = 0
        self._writer = writer
        self._best = best
        self._unique = unique
        self._novel = novel
        self._pieces: list[str] = []
        self._known: set[str] = set()
        self._kept: list[tuple[float, int, str, Row, Sample]] = []

    def emit(self, row: "Row", text: str) -> None:
        """Keeps more of the row's text."""
        self._pieces.append(text)

    def ended(self, row: "Row", sample: "Sample") -> None:
        """Weighs the sample."""
        text = "".join(self._pieces)
        self._pieces = []
        if self._unique:
            if text in self._known:
                return
            self._known.add(text)
        if self._novel is not None and not self._novel(text):
            self.not_novel += 1
        elif self._best is None:
            self._hand_on(text, row, sample)
        else:
            bits = bits_per_char(row, sample)
            # The worst of the kept is the first of the heap.
            heapq.heappush(self._kept, (-bits, -row.k, text, row, sample))
            if len(self._kept) > self._best:
                heapq.heappop(self._kept)

    def finish(self) -> None:
        """Hands on the best, the likeliest first."""
        for _, _, text, row, sample in sorted(self._kept, key=lambda one: one[:2], reverse=True):
            self._hand_on(text, row, sample)

    def _hand_on(self, text: str, row: "Row", sample: "Sample") -> None:
        self._writer.emit(row, text)
        self._writer.ended(row, sample)


class Trace:
    """One line for each symbol drawn: it, its probability and bits, and what else was likely."""

    def __init__(self, tokenizer: "Tokenizer") -> None:
        self._tokenizer = tokenizer

    def seen(self, row: "Row", id: int, logits: "np.ndarray") -> None:
        """Writes the line of one symbol, by the model's own distribution."""
        from charlm.score import log_softmax

        nats = -log_softmax(logits[None])[0]
        symbol = self._tokenizer.symbol
        fields = [symbol(id), f"{math.exp(-nats[id]):.4f}", f"{nats[id] / math.log(2):.4f}"]
        likely = [other for other in nats.argsort(kind="stable").tolist() if other != id]
        fields += [f"{symbol(other)}:{math.exp(-nats[other]):.4f}" for other in likely[:RUNNERS_UP]]
        click.echo("\t".join(fields))

    def emit(self, row: "Row", text: str) -> None:
        """The text itself is not written."""

    def ended(self, row: "Row", sample: "Sample") -> None:
        """Nothing is left to write."""


def matches(index: "Index", length: int, beginning: str) -> Callable[[str], dict[str, Any]]:
    """What JSON tells of the longest run that a text shares with the training text.

    It is novel where that is shorter than `length` and the text, after its prompt `beginning`, is
    no record of the training text.
    """

    def tell(text: str) -> dict[str, Any]:
        found = index.longest(text)
        about = {"length": found.length, "text": printable(found.run), "line": found.line}
        novel = found.length < length and not index.has_record(beginning + text)
        return {"novel": novel, "longest_match": about}

    return tell


def bits_per_char(row: "Row", sample: "Sample") -> float:
    """What the model's own distribution makes of what was drawn; inf where nothing was."""
    return row.nats / sample.chars / math.log(2) if sample.chars else math.inf

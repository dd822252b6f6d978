"""Text for lists and for terminals: controls show, a record is one line, surprise has a colour."""

import itertools
import json
import math
import os
import re
import sys
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from charlm.tokenizer import Tokenizer

# Controls, what else ends a line, and bytes that are not UTF-8.
_HIDDEN = "\x00-\x08\n-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff"
_FOR_LISTS = re.compile(f"[{_HIDDEN}\t\\\\]")
_FOR_TERMINALS = re.compile(f"[{_HIDDEN}]")
_CONTROLS = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")  # but newline and tab
_NAMED = {"\t": r"\t", "\n": r"\n", "\r": r"\r", "\\": r"\\"}

# Backgrounds of the 256 colours from pale to deep red, and the bits from which on each is used.
_LEVELS_BITS = (2.0, 4.0, 6.0, 8.0, 12.0)
_BACKGROUNDS = (None, 224, 217, 210, 203, 196)
# From deep blue over none to deep red, for what has a low and a high end.
_BOTH_WAYS = (27, 69, 111, 153, None, 224, 217, 210, 203)
_BAR = 40  # columns


Run = tuple[str, int | None]  # text, and its background


def harmless(text: str) -> str:
    r"""The text with \x1b and the like in place of what would move a terminal's cursor."""
    return _CONTROLS.sub(_escape, text)


def for_stdout(text: str) -> str:
    """The text itself, or where stdout is a terminal what is harmless there."""
    return harmless(text) if sys.stdout.isatty() else text


def json_line(value: Any) -> str:
    """The value as JSON, on one line; where stdout is a terminal, all controls are escaped."""
    text = json.dumps(value, ensure_ascii=False)
    if not sys.stdout.isatty():
        return text
    return _CONTROLS.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def printable(text: str) -> str:
    """The text with U+FFFD for bytes that are not UTF-8, as JSON wants it."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def figure(value: Any) -> str:
    """A value of a table: a number with four digits, - for what is not known."""
    if value is None:
        return "-"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def one_line(text: str) -> str:
    r"""The text on one line and in one column, with \n, \t, \\, \x1b (a byte), \u2028 in it."""
    return _FOR_LISTS.sub(_escape, text)


def shaded(pieces: list[tuple[str, float]], end_bits: float) -> str:
    """A text for a terminal, one line, each of its pieces on a background that tells its bits.

    `pieces` are (text, bits), one after another. The end shows as a space where it is a surprise.
    """
    runs: list[Run] = [(piece, surprise(bits)) for piece, bits in pieces]
    if (background := surprise(end_bits)) is not None:
        runs.append((" ", background))
    return _painted(runs)


def shaded_lines(runs: Iterable[Run]) -> Iterator[str]:
    """The lines of a text that comes in runs; of a newline's background a space is seen."""
    line: list[Run] = []
    for text, background in runs:
        *whole, rest = text.split("\n")
        for part in whole:
            yield _painted([*line, (part, background), (" " if background else "", background)])
            line = []
        line.append((rest, background))
    if any(text for text, _ in line):
        yield _painted(line)


def surprise(bits: float) -> int | None:
    """The background that tells so many bits."""
    return _BACKGROUNDS[bisect(_LEVELS_BITS, bits)]


def within(values: list[float]) -> Callable[[float], int | None]:
    """The backgrounds of values from blue, the lowest of `values`, to red, the highest."""
    low, high = min(values, default=0.0), max(values, default=0.0)
    steps = len(_BOTH_WAYS)

    def background(value: float) -> int | None:
        share = (value - low) / (high - low) if high > low else 0.5
        return _BOTH_WAYS[min(int(share * steps), steps - 1)]

    return background


def coloured(color: str | None) -> bool:
    """Whether --color asks for colours on this stdout: "auto" does on a terminal that has them."""
    if color != "auto":
        return color == "always"
    has_colors = os.environ.get("TERM") != "dumb" and not os.environ.get("NO_COLOR")
    return sys.stdout.isatty() and has_colors


def bar(share: float) -> str:
    """A bar as long as that share of 1."""
    return "█" * round(_BAR * min(max(share, 0.0), 1.0))


def pieces_of(
    tokenizer: "Tokenizer", ids: "np.ndarray", bits: "np.ndarray", unknown: Mapping[int, str]
) -> list[tuple[str, float]]:
    """The text of ids (T,) with its bits (T,); characters of several ids come whole.

    `unknown` has the text of symbols outside the vocabulary by their place: nothing is more of a
    surprise, whatever `<unk>` took.
    """
    feed = tokenizer.decoder("surrogateescape").feed
    return list(_pieces(feed, ids.tolist(), bits.tolist(), unknown))


def _pieces(
    feed: Callable[[int], str], ids: list[int], bits: list[float], unknown: Mapping[int, str]
) -> Iterator[tuple[str, float]]:
    owed = 0.0
    for place, (id, cost) in enumerate(zip(ids, bits, strict=True)):
        if place in unknown:
            yield unknown[place], math.inf
            continue
        owed += cost
        if text := feed(id):
            yield text, owed
            owed = 0.0


def _painted(runs: list[Run]) -> str:
    parts = []
    for background, group in itertools.groupby(runs, key=lambda run: run[1]):
        part = _FOR_TERMINALS.sub(_escape, "".join(piece for piece, _ in group))
        painted = background is not None and part
        parts.append(f"\x1b[30;48;5;{background}m{part}\x1b[0m" if painted else part)
    return "".join(parts)


def _escape(match: re.Match[str]) -> str:
    code = ord(match[0])
    if match[0] in _NAMED:
        return _NAMED[match[0]]
    if code < 0x80 or 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code & 0xFF:02x}"
    return f"\\u{code:04x}"

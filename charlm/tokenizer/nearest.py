"""Symbols and words outside a vocabulary, and what in it is nearest to them.

Nearest is first the same in another composition (e for é, fi for ﬁ, ... for …), then the other
case, then what looks alike (quotes, dashes, spaces, line ends), and each of these of the others.
"""

import unicodedata
from collections.abc import Collection, Iterator, Sequence
from itertools import chain

# Marks that are looked at with their letter; a longer run takes quadratic time to be put in order.
# Source: UAX #15, section 13, Stream-Safe Text Format.
MARKS_AT_MOST = 30

LINE_ENDS = "\n\r\v\f\x85\u2028\u2029"
# What neither category nor name tells.
KINDS = {
    "`": "'", "´": "'", "′": "'", "ʻ": "'", "″": '"', "−": "-", "⁃": "-", "⁄": "/", "∕": "/",
    "×": "x", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE",
}  # fmt: skip
# What stands for a kind in a vocabulary that lacks it, best first.
INSTEAD = {"'": "’‘′`", '"': "”“„″", "-": "‐–—−", " ": "\u00a0\u3000", "\n": "\r "}


def characters(text: str, unknown: Sequence[int], known: Collection[str]) -> str:
    """`text` with the nearest of `known` for each symbol at the places `unknown`, which ascend.

    One symbol may become several, or none where it can't be seen, and a letter is looked at with
    its combining marks. A symbol that has nothing near stays. Law: nothing known changes but the
    letter of an unknown mark, or the mark of an unknown letter.
    """
    found: dict[str, str] = {}
    parts, done = [], 0
    for place in unknown:
        if place < done:
            continue
        begin, end = _cluster(text, place, done)
        cluster = text[begin:end].replace("\r\n", "\n")
        if cluster not in found:
            found[cluster] = _nearest(cluster, known)
        parts += [text[done:begin], found[cluster]]
        done = end
    return "".join([*parts, text[done:]])


def word(unknown: str, known: Collection[str]) -> str | None:
    """The word of `known` that differs from `unknown` in case only, lower case first; or None."""
    return next((word for word in (unknown.lower(), unknown.title()) if word in known), None)


def _cluster(text: str, place: int, first: int) -> tuple[int, int]:
    """Begin and end of the letter at `place` with its marks, not before `first`."""
    begin, end = place, place + 1
    while begin > max(first, place - MARKS_AT_MOST) and _joins(text[begin]):
        begin -= 1
    if text[place : place + 2] == "\r\n":
        return begin, end + 1
    while end < min(len(text), place + MARKS_AT_MOST) and _joins(text[end]):
        end += 1
    return begin, end


def _joins(symbol: str) -> bool:
    """Whether it may be one with what stands before it: a mark, or a later part of a syllable."""
    return unicodedata.category(symbol)[0] == "M" or "\u1160" <= symbol <= "\u11ff"


def _nearest(cluster: str, known: Collection[str]) -> str:
    for candidate in _same(cluster):
        if _all_known(candidate, known):
            return candidate
    bare = _without_marks("NFKD", cluster)
    for symbols in (cluster, bare):
        parts = [_one(symbol, known) for symbol in symbols]
        if None not in parts:
            return "".join(parts)
    return "".join(
        symbol if part is None else part
        for symbol, part in ((symbol, _one(symbol, known)) for symbol in cluster)
    )


def _one(symbol: str, known: Collection[str]) -> str | None:
    candidates = chain(_same(symbol), _alike(symbol))
    return next((found for found in candidates if _all_known(found, known)), None)


def _all_known(text: str, known: Collection[str]) -> bool:
    return all(symbol in known for symbol in text)


def _same(text: str) -> Iterator[str]:
    """`text` in other compositions, in its own case and then in others."""
    for cased in dict.fromkeys((text, text.lower(), text.casefold(), text.upper())):
        yield cased
        for form in ("NFC", "NFD", "NFKC", "NFKD"):
            yield unicodedata.normalize(form, cased)
        for form in ("NFD", "NFKD"):
            yield _without_marks(form, cased)
        yield from _plain_letter(cased)


def _without_marks(form: str, text: str) -> str:
    """The letters of `text`; `text` itself where it has none, as an accent that stands alone."""
    symbols = unicodedata.normalize(form, text)
    bare = "".join(symbol for symbol in symbols if unicodedata.category(symbol)[0] != "M")
    return bare if bare.strip() else text


def _plain_letter(text: str) -> Iterator[str]:
    """o for ø: a letter whose name says that it is another one with something on it."""
    name = unicodedata.name(text, "") if len(text) == 1 else ""
    letter, joined, _ = name.partition(" WITH ")
    if joined and " LETTER " in letter:
        try:
            yield unicodedata.lookup(letter)
        except KeyError:
            return


def _alike(symbol: str) -> Iterator[str]:
    """What looks like `symbol`, the plainest first."""
    kind = _kind(symbol)
    if kind is not None:
        yield kind
        yield from INSTEAD.get(kind, "")


def _kind(symbol: str) -> str | None:
    """The plain text that `symbol` looks like; "" for what can't be seen by itself."""
    if symbol in KINDS:
        return KINDS[symbol]
    if symbol in LINE_ENDS:
        return "\n"
    if symbol.isspace():
        return " "
    category = unicodedata.category(symbol)
    if category == "Pd":
        return "-"
    if category == "Cf" or category[0] == "M":
        return ""
    name = unicodedata.name(symbol, "")
    if "QUOTATION MARK" in name:
        return "'" if "SINGLE" in name else '"'
    return "'" if name.endswith("APOSTROPHE") else None

"""A text's words, in the sense of a pattern that `tokenizers` splits by.

Python's `re` does the work, several times faster than the engine inside `tokenizers`. The two
do not agree on what a word character is outside ASCII, so `re` is given the classes in full: each
character is looked up once, in `tokenizers` itself.
"""

import re
from typing import Any

# A word carries the space before it, and every character is in some match: joining the matches
# gives the text. No match reaches across a newline, so a text may be cut after any.
WORD_PATTERN = r" ?\w+| ?[^\w\s]|\s"
PAIR_PATTERN = r" ?\w+| ?[^\w\s]+|\n|[^\S\n]+(?!\S)|[^\S\n]"

# Stands for the end of a record among words; no decoded text has it.
RECORD_END = "\udcff"

_BETWEEN_WORDS = re.compile("(?<=[A-Za-z0-9])(?= [A-Za-z0-9])")


class Words:
    """Splits text by WORD_PATTERN or PAIR_PATTERN as `tokenizers` does."""

    def __init__(self, pattern: str) -> None:
        self._pattern = pattern
        self._ascii = re.compile(pattern, re.ASCII)
        self._known = {chr(code) for code in range(128)}
        self._word = set(filter(re.compile(r"\w", re.ASCII).match, self._known))
        self._space = set(filter(re.compile(r"\s", re.ASCII).match, self._known))
        self._full = self._ascii
        self._classify: Any = None

    def split(self, text: str) -> list[str]:
        """The words of `text`; joined, they are the text."""
        if text.isascii():
            return self._ascii.findall(text)
        new = set(text) - self._known
        if new:
            self._learn(new)
        return self._full.findall(text)

    def split_records(self, records: list[str]) -> list[str]:
        """The words of each record, with RECORD_END between records."""
        words = self.split(records[0])
        for record in records[1:]:
            words.append(RECORD_END)
            words += self.split(record)
        return words

    def _learn(self, new: set[str]) -> None:
        if self._classify is None:
            from tokenizers import Regex, normalizers

            self._classify = [normalizers.Replace(Regex(out), "") for out in (r"\W", r"\S")]
        text = "".join(sorted(new))
        keep_word, keep_space = self._classify
        self._word |= set(keep_word.normalize_str(text))
        self._space |= set(keep_space.normalize_str(text))
        self._known |= new
        word, space, blank = map(_members, (self._word, self._space, self._space - {"\n"}))
        full = self._pattern
        for ours, spelled_out in (
            (r"[^\S\n]", f"[{blank}]"),
            (r"[^\w\s]", f"[^{word}{space}]"),
            (r"(?!\S)", f"(?![^{space}])"),
            (r"\w", f"[{word}]"),
            (r"\s", f"[{space}]"),
        ):
            full = full.replace(ours, spelled_out)
        self._full = re.compile(full)


def last_cut(text: str) -> int:
    """The last place where the words of both sides add up to those of the whole; 0 if none."""
    newline = text.rfind("\n")
    if newline >= 0:
        return newline + 1
    return max((match.start() for match in _BETWEEN_WORDS.finditer(text)), default=0)


def _members(characters: set[str]) -> str:
    """The inside of a character class, as ranges."""
    ranges: list[list[int]] = []
    for code in sorted(map(ord, characters)):
        if ranges and code == ranges[-1][1] + 1:
            ranges[-1][1] = code
        else:
            ranges.append([code, code])
    return "".join(f"\\U{low:08x}-\\U{high:08x}" for low, high in ranges)

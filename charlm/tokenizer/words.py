"""A text's words, in the sense of a pattern that `tokenizers` splits by.

Python's `re` does the work, several times faster than the engine inside `tokenizers`. The two
do not agree on what a word character is outside ASCII, so `re` sees ASCII only: any other
character gives way to one of the same class, which is looked up once, in `tokenizers` itself.
"""

import re
from typing import Any

import numpy as np

# A word carries the space before it, and every character is in some match: joining the matches
# gives the text. No match reaches across a newline, so a text may be cut after any.
# NOTE: the engine inside `tokenizers` takes ² for a word character in \w, but not in [\w].
WORD_PATTERN = r" ?[\w]+| ?[^\w\s]|\s"
# What stands between spaces is a word and the end of a line is one too, whatever space is before
# it. The last alternative, space before the end of the text, is no word.
SPACED_PATTERN = r"[^\S\n]*\n|[^\S\n]*[^\s]+|[^\S\n]+\Z"
# The same as it was once, when a word was another one where no space was before it.
JOINED_PATTERN = r" ?\n| ?[^\s]+|\s"
# What byte pairs are merged in. Its length is bounded: learning them takes the square of it.
PAIR_PATTERN = r" ?[\w]{1,64}| ?[^\w\s]{1,64}|\n|[^\S\n]{1,64}(?!\S)|[^\S\n]"
# The same as it was once, without a bound.
LONG_PAIR_PATTERN = r" ?[\w]+| ?[^\w\s]+|\n|[^\S\n]+(?!\S)|[^\S\n]"
PATTERNS = {
    "text": WORD_PATTERN,
    "spaces": SPACED_PATTERN,
    "joined": JOINED_PATTERN,
    "pairs": PAIR_PATTERN,
    "long pairs": LONG_PAIR_PATTERN,
}

CODE_POINTS = 0x110000

# What `\s` is to `tokenizers`, but for the newline.
SPACES = (
    "\t\v\f\r \x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)

# Stands for the end of a record among words; no decoded text has it.
RECORD_END = "\udcff"

# Before the space of a word, or between Chinese characters and a mark, no match reaches across;
# the latter not where spaces alone divide words.
_BEFORE_SPACE = "(?<=[A-Za-z0-9])(?= [A-Za-z0-9])"
_BETWEEN = {
    "text": re.compile(f"{_BEFORE_SPACE}|(?<=[\u4e00-\u9fff])(?=[\u3001\u3002\uff0c])"),
    "spaces": re.compile(_BEFORE_SPACE),
}
_LOOK_BACK = 4096  # characters that are searched first


class Words:
    """Splits text by one of the patterns above as `tokenizers` does."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern, re.ASCII)
        self._classes = np.zeros(0, dtype=np.uint8)
        self._classify: Any = None

    def split(self, text: str) -> list[str]:
        """The words of `text`; joined, they are the text."""
        if text.isascii():
            return self._pattern.findall(text)
        lengths = map(len, self._pattern.findall(self._in_ascii(text)))
        begin = 0
        return [text[begin : (begin := begin + length)] for length in lengths]

    def split_records(self, records: list[str]) -> list[str]:
        """The words of each record, with RECORD_END between records."""
        words = self.split(records[0])
        for record in records[1:]:
            words.append(RECORD_END)
            words += self.split(record)
        return words

    def _in_ascii(self, text: str) -> str:
        """The text with each character outside ASCII replaced by one of its class."""
        if not len(self._classes):
            self._classes = np.zeros(CODE_POINTS, dtype=np.uint8)  # 0 is not looked up yet
            self._classes[:128] = np.arange(128)
        codes = np.frombuffer(text.encode("utf-32-le"), dtype="<u4")
        classes = self._classes[codes]
        new = np.unique(codes[(classes == 0) & (codes != 0)])
        if len(new):
            self._learn(new)
            classes = self._classes[codes]
        return classes.tobytes().decode("ascii")

    def _learn(self, codes: np.ndarray) -> None:
        if self._classify is None:
            from tokenizers import Regex, normalizers

            self._classify = [normalizers.Replace(Regex(out), "") for out in (r"[^\w]", r"[^\s]")]
        text = "".join(map(chr, codes.tolist()))
        self._classes[codes] = ord("!")
        for kept, example in zip(self._classify, "a\t", strict=True):
            self._classes[[ord(character) for character in kept.normalize_str(text)]] = ord(example)


class SpacedWords(Words):
    """Splits text at spaces; each word carries the spaces before it, the last those after it."""

    def __init__(self) -> None:
        super().__init__(SPACED_PATTERN)

    def split(self, text: str) -> list[str]:
        """The words of `text`; joined, they are the text but for spaces after its last newline."""
        words = super().split(text)
        if words and not words[-1].strip(SPACES):
            spaces = words.pop()
            if words and not words[-1].endswith("\n"):
                words[-1] += spaces
        return words


def splitter(pattern: str) -> Words:
    """What splits a text into words, by a name of PATTERNS."""
    return SpacedWords() if pattern == "spaces" else Words(PATTERNS[pattern])


def token(word: str, pattern: str) -> str:
    """What a word that a splitter has found is called in a vocabulary.

    Between spaces all that surrounds a word is one space before it.
    """
    return f" {word.strip(SPACES)}" if pattern == "spaces" else word


def last_pair_cut(text: str) -> int:
    """The last place in a text where, however it goes on, PAIR_PATTERN cuts it; 0 if none.

    Where all of the text is one run of letters or of spaces, that is less than 128 from its end.
    """
    return sum(map(len, splitter("pairs").split(text)[:-2]))


def last_cut(text: str, words: str = "text") -> int:
    """The last place where the words of both sides add up to those of the whole; 0 if none.

    `words`, a name of PATTERNS, says what a word is.
    """
    newline = text.rfind("\n")
    if newline >= 0:
        return newline + 1
    for begin in (max(0, len(text) - _LOOK_BACK), 0):
        if places := [match.start() for match in _BETWEEN[words].finditer(text, begin)]:
            return places[-1]
    return 0

"""Prompts: what a model reads of a text that is to go on."""

import numpy as np

from charlm.model_file import Model


class Prompts:
    """Turns prompts into ids; `strange` counts the words that the model does not know.

    `unknown`, one of config.UNKNOWN_POLICIES, says what becomes of a symbol that it does not know.
    """

    def __init__(self, model: Model, unknown: str) -> None:
        self.strange = 0
        # Of `bytes.decode`: a model of bytes reads any.
        self.errors = "surrogateescape" if model.tokenizer.level == "byte" else "strict"
        self._tokenizer = model.tokenizer
        self._unknown = unknown

    def ids(self, text: str) -> np.ndarray:
        """The ids of a prompt, int64. Raises DataError for a symbol that is not known."""
        tokenizer = self._tokenizer
        if not text:
            return np.empty(0, np.int64)
        if tokenizer.level != "word":
            return tokenizer.encode(text, self._unknown)
        ids = tokenizer.encode(self._spaced(text), self._unknown)
        self.strange += int((ids == tokenizer.unknown).sum())
        return ids

    def shown(self, text: str) -> str:
        """What was typed, unless the policy had it changed."""
        if self._unknown == "error":
            return text
        ids = self._tokenizer.encode(self._spaced(text), self._unknown)
        return self._tokenizer.decode(ids, "surrogateescape")

    def _spaced(self, text: str) -> str:
        """The text, with a space before it where its first word is known with one alone.

        A word carries the space before it, which nobody types before a prompt.
        """
        tokenizer = self._tokenizer
        if tokenizer.level != "word":
            return text
        firsts = [tokenizer.encode(one, "replace")[:1] for one in (text, f" {text}")]
        known = [tokenizer.unknown not in first for first in firsts]
        return text if known[0] or not known[1] else f" {text}"

"""Prompts: where they come from, and what a model reads of them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charlm.errors import DataError

if TYPE_CHECKING:
    import numpy as np

    from charlm.model_file import Model


class Prompts:
    """Turns prompts into ids; `strange` counts the words that the model does not know."""

    def __init__(self, model: "Model", unknown: str) -> None:
        self.strange = 0
        # Of `bytes.decode`: a model of bytes reads any.
        self.errors = "surrogateescape" if model.tokenizer.level == "byte" else "strict"
        self._tokenizer = model.tokenizer
        self._unknown = unknown

    def ids(self, text: str) -> "np.ndarray":
        """The ids of a prompt, int64. Raises DataError for a symbol that is not known."""
        import numpy as np

        tokenizer = self._tokenizer
        if not text:
            return np.empty(0, np.int64)
        if tokenizer.level != "word":
            return tokenizer.encode(text, self._unknown)
        ids = tokenizer.encode(self._spaced(text), self._unknown)
        self.strange += int((ids == tokenizer.unknown).sum())
        return ids

    def shown(self, text: str) -> str:
        """What was typed, unless --unknown had it changed."""
        if self._unknown == "error":
            return text
        ids = self._tokenizer.encode(self._spaced(text), self._unknown)
        return self._tokenizer.decode(ids, "surrogateescape")

    def tell(self) -> None:
        """Says on stderr how many words were not known, where any were."""
        if self.strange:
            what = "word" if self.strange == 1 else "words"
            click.echo(f"{self.strange} {what} of the prompt not in the vocabulary", err=True)

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


def prompt_text(prompt: str | None, prompt_file: Path | None, errors: str = "strict") -> str:
    """The prompt that was given, "" where none was; `errors` is that of `bytes.decode`."""
    if prompt_file is None:
        return prompt or ""
    name = "stdin" if str(prompt_file) == "-" else str(prompt_file)
    data = sys.stdin.buffer.read() if name == "stdin" else prompt_file.read_bytes()
    try:
        return data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 (byte 0x{data[error.start]:02X} at offset {error.start})."
            " Re-save it as UTF-8."
        ) from error

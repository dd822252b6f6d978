"""Where prompts come from, and what is told of them."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from charlm.cli.bars import say_waiting
from charlm.errors import DataError
from charlm.preparation.sources import named

if TYPE_CHECKING:
    from charlm.sampling.prompts import Prompts


def tell_strange(prompts: "Prompts") -> None:
    """Says on stderr how many words were not known, where any were."""
    if prompts.strange:
        what = "word" if prompts.strange == 1 else "words"
        click.echo(f"{prompts.strange} {what} of the prompt not in the vocabulary", err=True)


def prompt_text(prompt: str | None, prompt_file: Path | None, errors: str = "strict") -> str:
    """The prompt that was given, "" where none was; `errors` is that of `bytes.decode`.

    The last newline of a file ends its last line, and is not part of the prompt.
    """
    if prompt_file is None:
        return prompt or ""
    name = "stdin" if str(prompt_file) == "-" else str(prompt_file)
    if name == "stdin":
        say_waiting()
    with named(name):
        data = sys.stdin.buffer.read() if name == "stdin" else prompt_file.read_bytes()
    try:
        text = data.decode("utf-8", errors)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 (byte 0x{data[error.start]:02X} at offset {error.start})."
            " Re-save it as UTF-8."
        ) from error
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text

"""Where prompts come from, and what is said of them."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from charlm.amounts import counted
from charlm.cli.files import text_of

if TYPE_CHECKING:
    from charlm.sampling.prompts import Prompts


def tell_strange(prompts: "Prompts") -> None:
    """Says on stderr how many words were not known, where any were."""
    if prompts.strange:
        words = counted(prompts.strange, "word")
        click.echo(f"{words} of the prompt not in the vocabulary", err=True)


def prompt_text(prompt: str | None, prompt_file: Path | None, errors: str = "strict") -> str:
    """The prompt that was given, "" where none was; `errors` is that of `bytes.decode`.

    The last newline of a file ends its last line, and is not part of the prompt.
    """
    if prompt_file is None:
        return prompt or ""
    text = text_of(prompt_file, errors, "Re-save it as UTF-8.")
    return text.removesuffix("\n").removesuffix("\r") if text.endswith("\n") else text

"""What the site's reference has that is made from the code: a hook of mkdocs.

A page has a comment, such as `<!-- commands -->`, where its generated part goes.
"""

import html
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from charlm.cells import CELLS

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
import man_pages

# What stands beside the recurrent cells, and what several of them share.
PARTS = ("attention", "feed_forward", "channel_mix", "token_shift", "min_rnn")


def on_page_markdown(markdown: str, **about: Any) -> str:
    """A page with its generated parts, as mkdocs asks for it."""
    for name, make in {"commands": commands, "cells": cells}.items():
        if (comment := f"<!-- {name} -->") in markdown:
            markdown = markdown.replace(comment, "\n\n".join(make()))
    return markdown


def commands() -> Iterator[str]:
    """Every command: its help, its examples, its options."""
    for ctx in man_pages.contexts():
        command = ctx.command
        yield f"## {ctx.command_path}"
        yield f"    {ctx.command_path} {' '.join(command.collect_usage_pieces(ctx))}"
        for text in man_pages.paragraphs(command):
            if "\b" in text:
                lines = text.replace("\b", "").strip("\n")
                yield f"```sh\n{lines}\n```"
            else:
                yield plain(text)
        options = (one for one in command.get_params(ctx) if isinstance(one, click.Option))
        records = filter(None, (option.get_help_record(ctx) for option in options))
        yield "\n".join(f"- `{names}`<br>{plain(words)}" for names, words in records)


def cells() -> Iterator[str]:
    """Every cell, and what goes with cells: what its file says at the top."""
    named: dict[str, list[str]] = {}
    for name, cell in CELLS.items():
        named.setdefault(type(cell).__module__, []).append(f"`{name}`")
    for part in PARTS:
        named[f"charlm.cells.{part}"] = [part.replace("_", " ")]
    for module, names in named.items():
        yield f"## {', '.join(names)}"
        document = inspect.getdoc(importlib.import_module(module)) or ""
        for text in document.split("\n\n"):
            yield text if text.startswith("    ") else plain(text)


def plain(text: str) -> str:
    """Words as they are, whatever Markdown would make of them, but for code in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([\\*_\[\]])", r"\\\1", html.escape(part, False)) for part in parts[::2]]
    return "".join(parts)

"""What the site's reference has that is made from the code: a hook of mkdocs.

A page has a comment, such as `<!-- commands -->`, where its generated part goes.
"""

import ast
import html
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click

from charlm.cells import CELLS

sys.path.insert(0, str(Path(__file__).parents[1] / "tools"))
import man_pages

# What stands beside the recurrent cells, and what several of them share.
PARTS = ("attention", "feed_forward", "channel_mix", "token_shift", "min_rnn")
# What a program may use, by the file it stands in.
PUBLIC = {
    "library/model.py": ("Model", "Expected"),
    "library/making.py": ("prepare", "train"),
    "library/options.py": ("PrepOptions", "TrainOptions", "SampleOptions"),
    "score.py": ("Score",),
    "sampling/generate.py": ("Place",),
    "errors.py": ("CharlmError", "ConfigError", "DataError", "TrainingError"),
}
PACKAGE = Path(__file__).parents[1] / "charlm"


def on_page_markdown(markdown: str, **about: Any) -> str:
    """A page with its generated parts, as mkdocs asks for it."""
    for name, make in {"commands": commands, "cells": cells, "library": library}.items():
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


def library() -> Iterator[str]:
    """Every public class and function: its signature and its docstring, from the source."""
    for name, wanted in PUBLIC.items():
        source = (PACKAGE / name).read_text(encoding="utf-8")
        found = {node.name: node for node in ast.parse(source).body if hasattr(node, "name")}
        for one in wanted:
            yield from described(found[one], source.splitlines(), "##")


def described(node: Any, lines: list[str], level: str) -> Iterator[str]:
    """A class with its fields and public methods, or a function; `lines` are those of its file."""
    yield f"{level} `{node.name}`"
    begin = min([node, *node.decorator_list], key=lambda one: one.lineno).lineno - 1
    head = lines[begin : node.body[0].lineno - 1]
    fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
    for field in fields if isinstance(node, ast.ClassDef) else ():
        head += lines[field.lineno - 1 : field.end_lineno]
    code = textwrap.dedent("\n".join(head))
    yield f"```python\n{code}\n```"
    yield documented(ast.get_docstring(node) or "")
    for below in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(below, ast.FunctionDef) and not below.name.startswith("_"):
            yield from described(below, lines, f"{level}#")


def documented(text: str) -> str:
    """A docstring as Markdown; what stands after `>>>` is an example."""
    parts = text.split("\n\n")
    return "\n\n".join(
        f"```python\n{part}\n```" if part.startswith(">>>") else plain(part) for part in parts
    )


def plain(text: str) -> str:
    """Words as they are, whatever Markdown would make of them, but for code in backticks."""
    parts = re.split(r"(`[^`]*`)", text)
    parts[::2] = [re.sub(r"([\\*_\[\]])", r"\\\1", html.escape(part, False)) for part in parts[::2]]
    return "".join(parts)

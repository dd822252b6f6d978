"""Click options made from the knobs of `config`, and the types they read."""

import re
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from types import UnionType
from typing import TYPE_CHECKING, Any, get_args, get_type_hints

import click

from charlm.knobs import Knobs

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem


class _FilePath(click.Path):
    """A path. One that is a URL is refused, with what to do instead."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The path `value`."""
        if isinstance(value, str) and re.match(r"[a-z]+://", value):
            self.fail(f"{value} is a URL, and files are read here; fetch it first.", param, ctx)
        return super().convert(value, param, ctx)


# Whether a path can be used shows when it is used, and is told in one line then.
PATH = _FilePath(path_type=Path, readable=False)


class CellNames(click.ParamType):
    """One of `names`, or several with commas between them, from the bottom up."""

    name = "cell"

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """The names, as a choice shows them."""
        return f"[{'|'.join(self.names)}][,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if every name in it is known."""
        for name in value.split(","):
            if name not in self.names:
                self.fail(f"{name!r} is not one of {', '.join(self.names)}.", param, ctx)
        return value

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> "list[CompletionItem]":
        """The names that go on from what stands after the last comma."""
        from click.shell_completion import CompletionItem

        before, comma, begun = incomplete.rpartition(",")
        found = [name for name in self.names if name.startswith(begun)]
        return [CompletionItem(before + comma + name) for name in found]


class Duration(click.ParamType):
    """A length of time such as 90, 90s, 10m or 1.5h, held in seconds."""

    name = "duration"
    SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86400}  # noqa: RUF012

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The seconds in `value`."""
        if isinstance(value, int | float):
            return float(value)
        unit = value[-1:].lower()
        number = value[:-1] if unit in self.SECONDS else value
        try:
            seconds = float(number) * self.SECONDS.get(unit, 1)
        except ValueError:
            self.fail(f"{value!r} is not a length of time; write 90s, 10m or 1.5h.", param, ctx)
        if not 0 < seconds < float("inf"):
            self.fail(f"{value!r} must be above 0.", param, ctx)
        return seconds


class BareOption(click.Option):
    """An option with choices, which may stand without a value and then means `bare`."""

    def __init__(self, *names: Any, bare: str, **settings: Any) -> None:
        super().__init__(*names, **settings)
        self.bare = bare


class BareOptionCommand(click.Command):
    """A command some of whose options are BareOptions: what comes after one and is none of its
    choices is not its value."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Reads the command's words."""
        options = {
            name: option
            for option in self.params
            if isinstance(option, BareOption)
            for name in option.opts
        }
        end = args.index("--") if "--" in args else len(args)
        found = []
        for at, word in enumerate(args):
            option = options.get(word) if at < end else None
            bare = option is not None and args[at + 1 : at + 2] not in [
                [c] for c in option.type.choices
            ]
            found.append(f"{word}={option.bare}" if bare else word)
        return super().parse_args(ctx, found)


def knob_options(
    knobs: type[Knobs], *, types: dict[str, click.ParamType] | None = None
) -> Callable[[Callable], Callable]:
    """A decorator that gives a command one option for each field of `knobs`.

    `types` reads the values of knobs that no rule of `config` describes.
    """

    def decorate(command: Callable) -> Callable:
        hints = get_type_hints(knobs)
        for f in reversed(fields(knobs)):
            command = _option(f, hints[f.name], (types or {}).get(f.name))(command)
        return command

    return decorate


def take(knobs: type[Knobs], values: dict[str, Any]) -> Any:
    """The group `knobs`, made from the options of that name, which are taken out of `values`."""
    return knobs(**{f.name: values.pop(f.name) for f in fields(knobs)})


def _option(f: Any, hint: Any, reader: click.ParamType | None) -> Callable[[Callable], Callable]:
    name = "--" + f.name.replace("_", "-")
    kind = get_args(hint)[0] if isinstance(hint, UnionType) else hint
    settings: dict[str, Any] = {
        "default": f.default,
        "show_default": f.default is not None and kind is not bool,
        "help": f.metadata["help"],
    }
    if kind is bool:
        return click.option(f"{name}/--no-{name[2:]}", f.name, **settings)
    if f.metadata["bare"] is not None:
        settings |= {"cls": BareOption, "bare": f.metadata["bare"]}
    names = [name] if f.metadata["short"] is None else [f.metadata["short"], name]
    return click.option(*names, f.name, type=reader or _type(f, kind), **settings)


def _type(f: Any, kind: type) -> Any:
    if f.metadata["choices"]:
        return click.Choice(list(f.metadata["choices"]))
    if f.metadata["unit"] == "duration":
        return Duration()
    limits = f.metadata["limits"]
    low = limits["low"] if limits["above"] is None else limits["above"]
    high = limits["high"] if limits["below"] is None else limits["below"]
    if low is None and high is None:
        return kind
    ranged = click.IntRange if kind is int else click.FloatRange
    return ranged(
        low, high, min_open=limits["above"] is not None, max_open=limits["below"] is not None
    )

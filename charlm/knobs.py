"""What a knob is: a field that knows its range and its help; and groups that check themselves."""

import difflib
from dataclasses import asdict, field, fields
from typing import Any, get_type_hints

from charlm.errors import ConfigError
from charlm.untrusted import fits


def knob(
    default: Any,
    help: str,
    *,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] | None = None,
    unit: str | None = None,
    short: str | None = None,
    bare: str | None = None,
) -> Any:
    """A dataclass field that knows its range and its help; `None` as default means "off".

    `low` and `high` belong to the range, `above` and `below` do not. `unit="duration"` reads
    "90", "90s", "10m" or "1.5h" on the command line and holds seconds. `bare` is what the option
    means without a value.
    """
    limits = {"low": low, "high": high, "above": above, "below": below}
    metadata = {
        "help": help, "limits": limits, "choices": choices, "unit": unit, "short": short,
        "bare": bare,
    }  # fmt: skip
    return field(default=default, metadata=metadata)


class Knobs:
    """A group of knobs that checks itself when it is made."""

    def __post_init__(self) -> None:
        for f in fields(self):
            check(f.name, getattr(self, f.name), **f.metadata["limits"])
            choices, value = f.metadata["choices"], getattr(self, f.name)
            left_open = value is None and f.default is None
            if choices and value not in choices and not left_open:
                raise ConfigError(f"{f.name} is {value!r}; it can be {', '.join(choices)}.")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Knobs":
        """The group with these values; an unknown name or a value of another type is an error."""
        if not isinstance(values, dict):
            raise ConfigError(f"{cls.__name__} is {str(values)[:40]!r}, which names no options.")
        hints = get_type_hints(cls)
        unknown = sorted(set(values) - hints.keys())
        if unknown:
            near = difflib.get_close_matches(unknown[0], hints, n=1)
            meant = f" Did you mean {near[0]}?" if near else ""
            raise ConfigError(f"There is no option {', '.join(unknown)}.{meant}")
        values = {name: plain(value) for name, value in values.items()}
        for name, value in values.items():
            if not fits(hints[name], value):
                wanted = getattr(hints[name], "__name__", str(hints[name]))
                raise ConfigError(f"{name} is {str(value)[:40]!r}; it takes {wanted}.")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """The values by name, as plain data."""
        return asdict(self)


def plain(value: Any) -> Any:
    """Python's own number or text for numpy's or torch's; anything else as it is."""
    single = hasattr(value, "item") and not getattr(value, "ndim", 1)
    return value.item() if single else value


def check(
    name: str,
    value: Any,
    *,
    low: float | None,
    high: float | None,
    above: float | None,
    below: float | None,
) -> None:
    """Raises ConfigError where a number lies outside its range; NaN lies outside every range."""
    if value is None or isinstance(value, str | bool):
        return
    rules = [
        (low, lambda limit: value >= limit, "at least"),
        (high, lambda limit: value <= limit, "at most"),
        (above, lambda limit: value > limit, "above"),
        (below, lambda limit: value < limit, "below"),
    ]
    for limit, holds, words in rules:
        if limit is not None and not holds(limit):
            raise ConfigError(f"{name} is {value}; it must be {words} {limit:g}.")


def as_option(name: str, value: Any) -> str:
    """A knob as it would be typed: `--lr 0.008`, `--tied`, `--no-residual`."""
    name = name.replace("_", "-")
    if isinstance(value, bool):
        return f"--{name}" if value else f"--no-{name}"
    if isinstance(value, float):
        # All of its digits: who types it again gets the same number.
        value = repr(value).removesuffix(".0")
    return f"--{name} {value}"

"""What every way of sampling begins with: a model on its engine, and how it is to draw."""

import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from charlm.config import SamplingConfig
from charlm.errors import ConfigError
from charlm.knobs import plain
from charlm.model_file import Model
from charlm.network import Uniform
from charlm.sampling import processors
from charlm.sampling.engine import Engine
from charlm.sampling.generate import Place, Row
from charlm.sampling.prompts import Prompts
from charlm.sampling.spelling import Drawable
from charlm.sampling.text import DEFAULT_LENGTH, RECORD_LENGTH, Manner, opening
from charlm.untrusted import fits

# What `manner_of` takes beside the knobs of a SamplingConfig.
ENDS = ("stops", "max_lines", "until_record", "ban", "allow", "match")


@dataclass(frozen=True)
class Session:
    """A model on its engine, how it is to draw, and the place from which it goes on, if any."""

    engine: Engine
    model: Model
    manner: Manner
    prompts: Prompts
    place: Place | None

    def opening(self, text: str) -> list[int]:
        """The ids read before the first draw, of a prompt that may be empty."""
        ids = self.prompts.ids(text).tolist()
        if self.place is None:
            ids = [*opening(self.model.tokenizer, self.model.records), *ids]
        return ids

    def row(self, k: int, ids: list[int], place: Place | None) -> Row:
        """Row k, to be drawn at `place`, where ids have been read already; without one they will.

        Without a place ids are read from where the session begins.
        """
        row = Row(k, ids, self.place) if place is None else Row(k, place=place)
        row.history.prompt = ids  # one list for all rows: nobody changes it
        return row


def check_has_network(model: Model, name: str) -> None:
    """Raises ConfigError where the model is of counts alone; `name` is what it is called."""
    if isinstance(model.network, Uniform):
        raise ConfigError(
            f"{name} is a model of counts alone, and this needs a network: train one with more"
            " time, or without --cell none."
        )


def check_reads_on(model: Model, name: str) -> None:
    """Raises ConfigError, which calls the model `name`, for one that can't go on with a text."""
    if model.network.config.bidirectional:
        raise ConfigError(
            f"{name} is bidirectional: it needs the text on both sides of a gap, and can't go on"
            " from left to right. Fill gaps with `charlm fill`, or train without --bidirectional."
        )


def manner_of(
    model: Model,
    config: SamplingConfig,
    *,
    stops: str | Sequence[str] = (),
    max_lines: int | None = None,
    until_record: bool = False,
    by_line: bool = False,
    ban: str | Sequence[str] = (),
    allow: str | Sequence[str] = (),
    match: str | None = None,
    endless: bool = False,
    costs: bool = False,
) -> Manner:
    """How samples of `model` are drawn, with what was left open as suits the model.

    A sample ends before one of the texts `stops`, after `max_lines`, with its record
    (`until_record`; without records its line, as always if `by_line`), or where the whole of it
    matches the expression `match`; after config.length characters in any case, unless that is None
    and it is `endless`. Characters or words in `ban`, and if `allow` has any those not in it, are
    never drawn; a single text is one of them. A seed that was not given is chosen. `costs` is the
    Manner's. Raises ConfigError for an empty text among them, and where what should end a sample
    can never come.
    """
    stops, ban, allow = _texts("stops", stops), _texts("ban", ban), _texts("allow", allow)
    max_lines = plain(max_lines)
    if not fits(int | None, max_lines):
        raise ConfigError(f"max_lines is {max_lines!r}; it takes a whole number.")
    by_line = by_line or (until_record and model.records == "none")
    length = config.length
    if length is None and not endless:
        length = DEFAULT_LENGTH if model.records == "none" and not by_line else RECORD_LENGTH
    banned = processors.banned_ids(model.tokenizer, ban, allow) if ban or allow else []
    matcher = None
    if match is not None:
        from charlm.sampling.matching import Matcher  # which takes a while to load

        matcher = Matcher(match, model.tokenizer, length, banned)
    if stops or max_lines is not None or until_record:
        stops = _endings(model, banned, stops, max_lines, until_record)
    if by_line and model.records != "line":
        newline = model.tokenizer.newline  # which may have a space before it
        stops = (*stops, "\n" if newline is None else model.tokenizer.pieces[newline].decode())
    seed = config.seed
    if seed is None:
        seed = random.SystemRandom().randrange(2**31)
    return Manner(config, seed, length, stops, max_lines, banned, matcher, costs)


def _texts(name: str, given: str | Iterable[str]) -> tuple[str, ...]:
    """The texts; one that stands by itself is not a sequence of characters here."""
    texts = (given,) if isinstance(given, str) or not isinstance(given, Iterable) else tuple(given)
    if not all(isinstance(text, str) for text in texts):
        raise ConfigError(f"{name} is {given!r}; it takes a text, or several.")
    if not all(texts):
        raise ConfigError("stops, ban and allow need some text.")
    return texts


def _endings(
    model: Model,
    banned: Sequence[int],
    stops: Sequence[str],
    max_lines: int | None,
    until_record: bool,
) -> tuple[str, ...]:
    """The texts `stops` as the model writes them. Raises ConfigError where an end never comes."""
    drawable = Drawable(model.tokenizer, banned)
    by_newline = (max_lines is not None and model.records != "line") or (
        until_record and model.records == "none"
    )
    if by_newline and "\n" not in drawable:
        raise ConfigError(
            "max_lines and until_record end a sample at a newline, which the model never writes;"
            " give a length instead."
        )
    return tuple(drawable.stop(text) for text in stops)

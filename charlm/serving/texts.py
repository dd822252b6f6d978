"""The texts that a request asked for, on their way from the worker that draws them to who asked."""

import asyncio
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from charlm.sampling.generate import Drawing, Place, Row
from charlm.sampling.text import Manner, Sample
from charlm.serving.request import Asked
from charlm.tokenizer import Tokenizer

_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True)
class Chance:
    """What was expected where a token came: its logarithm of probability, and the likeliest ones.

    `top` are the likeliest tokens and the one that came, by their names.
    """

    logprob: float
    top: dict[str, float]


@dataclass(frozen=True)
class Token:
    """A token of a text: its name, the character at which it begins, and its Chance."""

    name: str
    offset: int
    chance: Chance


@dataclass(frozen=True)
class Beginning:
    """What is read before a text is drawn.

    Of `ids` the first `unasked` come before the prompt: what a text begins after. `text` is the
    prompt as it is echoed, and the token at ids[unasked + t] begins at its character offsets[t].
    """

    ids: list[int]
    unasked: int
    text: str
    offsets: list[int]

    @property
    def prompt_tokens(self) -> int:
        """How many tokens the prompt has."""
        return len(self.ids) - self.unasked


@dataclass(frozen=True)
class Told:
    """A piece of text `index`: characters, the tokens in it, and at its end why it ended."""

    index: int
    text: str
    tokens: list[Token]
    finish: str | None

    def parts(self, most: int) -> Iterator["Told"]:
        """It in parts of so many tokens at most, which add up to it; one where it has none."""
        tokens, done = self.tokens, 0
        for at in range(most, len(tokens), most):
            end = tokens[at].offset - tokens[0].offset
            yield Told(self.index, self.text[done:end], tokens[at - most : at], None)
            done = end
        rest = tokens[(len(tokens) - 1) // most * most :] if tokens else []
        yield Told(self.index, self.text[done:], rest, self.finish)


@dataclass(eq=False)
class Order:
    """A request on its way: what was asked for, of whom, and what has been told of its texts.

    The worker draws it; `told` is read on the loop on which it was made, and gets an exception
    where the worker broke down. `left` counts the texts that have not ended, `gone` says that
    nobody waits for them any more, `drawn` how many tokens were drawn.
    """

    asked: Asked
    beginnings: list[Beginning]
    manner: Manner
    drawing: Drawing
    told: "asyncio.Queue[Told | BaseException]" = field(default_factory=asyncio.Queue)
    began: float = field(default_factory=time.monotonic)
    left: int = 0
    gone: bool = False
    drawn: int = 0

    def __post_init__(self) -> None:
        self.left = self.asked.n * len(self.beginnings)

    @property
    def prompt_tokens(self) -> int:
        """The tokens of all its prompts."""
        return sum(one.prompt_tokens for one in self.beginnings)


class Text:
    """One text of an order, as it grows: what has been drawn of it, and what can be told."""

    def __init__(self, order: Order, index: int, tokenizer: Tokenizer, names: list[str]) -> None:
        self.order = order
        self.index = index
        self.finish: str | None = None
        self.is_told = False  # whether its first piece is out
        self._beginning = order.beginnings[index // order.asked.n]
        self._streams = order.asked.stream
        self._names = names
        self._left = order.asked.max_tokens
        self._sample = Sample(tokenizer, order.manner, self._emit)
        self._tokens: list[Token] = []
        self._pieces: list[str] = []
        self._certain = 0  # characters that have been emitted

    def begin(self, echoed: Sequence[Token]) -> None:
        """Its prompt has been read; its tokens are told, where they are asked for."""
        if self.order.asked.echo:
            self._pieces.append(self._beginning.text)
            self._tokens = [*echoed]
        if not self._left:
            self._end()

    def hear(self, id: int, chance: Chance | None) -> bool:
        """Takes the next id; whether the text goes on."""
        sample, at = self._sample, self._sample.chars
        going = sample.hear(id)
        self.order.drawn += 1
        self._left -= 1
        if chance is not None and sample.stopped != "record":
            offset = len(self._beginning.text) + at
            self._tokens.append(Token(self._names[id], offset, chance))
        if going and self._left:
            return True
        self._end()
        return False

    def new(self) -> Told:
        """What has become certain since this was last asked for."""
        tokens = self._tokens
        if self.finish is None:
            end = len(self._beginning.text) + self._certain
            count = next((i for i, one in enumerate(tokens) if one.offset >= end), len(tokens))
            tokens, self._tokens = tokens[:count], tokens[count:]
        # Bytes that are not UTF-8 come as surrogates, which JSON has no place for.
        text = _SURROGATES.sub("\ufffd", "".join(self._pieces))
        self._pieces.clear()
        return Told(self.index, text, tokens, self.finish)

    @property
    def has_news(self) -> bool:
        """Whether there is something that its client wants to be told now."""
        return self.finish is not None or (self._streams and bool(self._pieces))

    def _emit(self, text: str) -> None:
        self._certain += len(text)
        self._pieces.append(text)

    def _end(self) -> None:
        self._sample.end("length")
        self.finish = "length" if self._sample.stopped == "length" else "stop"
        if self._sample.stopped == "stop":
            end = len(self._beginning.text) + self._certain
            self._tokens = [one for one in self._tokens if one.offset < end]


class Reading(Row):
    """A row that reads the prompt of texts that are still to be drawn."""

    def __init__(self, order: Order, number: int, place: Place | None, done: int) -> None:
        self.beginning = order.beginnings[number]
        super().__init__(0, self.beginning.ids[done:], place)
        self.order = order
        self.number = number
        self.logprobs = order.asked.logprobs if order.asked.echo else None
        self.chances: list[Chance] = []
        # A start symbol, and what else nobody asked for.
        self._unasked = self.beginning.unasked + 1

    def hear(self, id: int, chance: Chance | None) -> bool:
        """Takes what was expected where it read that id."""
        if chance is not None:
            if self._unasked:
                self._unasked -= 1
            else:
                self.chances.append(chance)
        return True


class Writing(Row):
    """A row that draws a text, from where its prompt has been read.

    Text k of a request, counted over all of its prompts, is drawn as sample k: no two texts share
    their random numbers, or equal prompts would get equal texts.
    """

    def __init__(self, text: Text, place: Place) -> None:
        order = text.order
        super().__init__(text.index, place=place)
        self.history.prompt = order.beginnings[text.index // order.asked.n].ids
        self.order = order
        self.logprobs = order.asked.logprobs
        self.hear = text.hear
        self.text = text

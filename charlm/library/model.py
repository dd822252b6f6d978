"""A trained model to call: it writes text, says what comes next, and measures text. No torch."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Unpack

from charlm import model_file
from charlm.config import SamplingConfig
from charlm.errors import ConfigError
from charlm.knobs import plain
from charlm.library.errors import check_unknown, errors_for_programs
from charlm.library.options import SampleOptions
from charlm.measuring.scorer import Scorer
from charlm.sampling.engine import Engine, engine_of
from charlm.sampling.generate import Place, Row, read
from charlm.sampling.prompts import Prompts
from charlm.sampling.session import ENDS, Session, check_reads_on, manner_of
from charlm.sampling.text import opening, sample_texts, sampling_texts
from charlm.sampling.threads import of_use
from charlm.score import Score, log_softmax
from charlm.untrusted import fits


@dataclass(frozen=True)
class Expected:
    """A symbol that may come next: its id, its readable name, and its cost in nats."""

    id: int
    symbol: str
    nats: float

    @property
    def probability(self) -> float:
        """How likely it is to come next."""
        return math.exp(-self.nats)

    @property
    def bits(self) -> float:
        """What it would cost, in bits."""
        return self.nats / math.log(2)


class Model:
    """A trained model.

    Nothing that is called changes it, or the process around it: what it has made of a text is a
    value (`state`), which `sample`, `next` and `state` go on from. So several threads may call one
    model, and a copy, pickled or not, does what it does. Sampling, `next` and `state` raise
    ConfigError where the model is bidirectional.

    >>> model = Model.load("run")
    >>> place = model.state("to be ")
    >>> model.sample("or", state=place, seed=1) == model.sample("to be or", seed=1)
    True
    >>> sum(one.probability for one in model.next("to b")).__round__(6)
    1.0
    >>> (model.score("to be") + model.score("or not")).chars  # each has its end
    13
    """

    def __init__(self, contents: model_file.Model, name: str = "the model", device: str = "cpu"):
        self.contents = contents
        """What the model file holds: network, weights, tokenizer, config and history."""
        self._name = name
        self._device = device

    def __getstate__(self) -> dict[str, Any]:
        """What a copy, also in another process, makes all else from."""
        return {name: vars(self)[name] for name in ("contents", "_name", "_device")}

    @classmethod
    @errors_for_programs()
    def load(cls, path: str | Path, *, device: str = "cpu") -> "Model":
        """The model in a run directory or a model file.

        `device` is where it samples: "cpu", or what torch calls "cuda" or "mps". Raises DataError
        where there is no model that can be used.
        """
        return cls(model_file.load(Path(path)), str(path), device)

    @errors_for_programs()
    def sample(self, prompt: str = "", **options: Unpack[SampleOptions]) -> str:
        """A text that goes on from `prompt`, without it; for options see `SampleOptions`.

        A seed that is not given is chosen. Law: `charlm sample --no-echo` with the same seed and
        options writes the same.
        """
        return "".join(self.stream(prompt, **options))

    @errors_for_programs()
    def samples(self, prompt: str, count: int, **options: Unpack[SampleOptions]) -> list[str]:
        """So many texts that go on from `prompt`, drawn side by side; the first is `sample`'s."""
        count = plain(count)
        if not fits(int, count) or count < 0:
            raise ConfigError(f"count is {count!r}; it takes a whole number, 0 or more.")
        session = self._session(options)
        ids = session.opening(prompt)
        texts: list[list[str]] = [[] for _ in range(count)]
        with of_use(self.contents.weights):
            place = read(session.engine, ids, session.place)
            sample_texts(
                session.engine,
                self.contents.tokenizer,
                (session.row(k, ids, place) for k in range(count)),
                session.manner,
                emit=lambda row, text: texts[row.k].append(text),
                ended=lambda row, sample: None,
            )
        return ["".join(pieces) for pieces in texts]

    @errors_for_programs()
    def stream(self, prompt: str = "", **options: Unpack[SampleOptions]) -> Iterator[str]:
        """The text of `sample` in pieces, each as soon as it is certain."""
        session = self._session(options)
        return _pieces(session, session.row(0, session.opening(prompt), None))

    @errors_for_programs()
    def score(self, text: str, *, unknown: str | None = None) -> Score:
        """How well the model predicts `text`: sums, and bits per character or byte of them.

        It is what `charlm score -0` says of a record: the text is read by itself, and its end is
        one symbol of it. `unknown` is as there: without it a symbol outside the vocabulary is
        `<unk>` where the model has that, else it is skipped. Scores of several texts add up.
        """
        if unknown is not None:
            check_unknown(unknown)
        with of_use(self.contents.weights):
            if unknown not in self._scorers:
                self._scorers[unknown] = Scorer(self.contents, unknown)
            (scored,) = self._scorers[unknown].score([text])
        return scored.score

    @errors_for_programs()
    def next(
        self,
        prompt: str = "",
        *,
        state: Place | None = None,
        unknown: str = "error",
        progress: Callable[[int], object] = lambda tokens: None,
    ) -> list[Expected]:
        """What may come after `prompt`: every symbol of the vocabulary, the likeliest first.

        `progress` gets how many more tokens of it have been read.
        """
        place = self.state(prompt, state=state, unknown=unknown, progress=progress)
        nats = -log_softmax(place.logits)[0]
        name = self.contents.tokenizer.symbol
        return [
            Expected(id, name(id), float(nats[id])) for id in nats.argsort(kind="stable").tolist()
        ]

    @errors_for_programs()
    def state(
        self,
        prompt: str = "",
        *,
        state: Place | None = None,
        unknown: str = "error",
        progress: Callable[[int], object] = lambda tokens: None,
    ) -> Place:
        """The place after `prompt`, read from the beginning or from the place `state`.

        Its `logits` (1, V) are of what comes next, its `state` has a tuple of arrays (1, ...) for
        each part of the network; `progress` is that of `next`. Law: going on from it equals reading
        the whole text.
        """
        check_reads_on(self.contents, self._name)
        check_unknown(unknown)
        ids = Prompts(self.contents, unknown).ids(prompt).tolist()
        if state is None:
            ids = [*opening(self.contents.tokenizer, self.contents.records), *ids]
        with of_use(self.contents.weights):
            return read(self._engine, _told(ids, progress), state)

    @cached_property
    def _engine(self) -> Engine:
        return engine_of(self.contents, self._device)

    @cached_property
    def _scorers(self) -> dict[str | None, Scorer]:
        return {}

    def _session(self, options: SampleOptions) -> Session:
        check_reads_on(self.contents, self._name)
        knobs = dict(options)
        if "samples" in knobs:
            raise ConfigError("samples is not for one text; Model.samples(prompt, count) has more.")
        place = knobs.pop("state", None)
        unknown = knobs.pop("unknown", "error")
        check_unknown(unknown)
        prompts = Prompts(self.contents, unknown)
        ends = {name: knobs.pop(name) for name in ENDS if name in knobs}
        manner = manner_of(self.contents, SamplingConfig.from_dict(knobs), **ends)
        return Session(self._engine, self.contents, manner, prompts, place)


def _pieces(session: Session, row: Row) -> Iterator[str]:
    """The text of a row as it is drawn."""
    pieces: list[str] = []
    drawing = sampling_texts(
        session.engine,
        session.model.tokenizer,
        [row],
        session.manner,
        emit=lambda row, text: pieces.append(text),
        ended=lambda row, sample: None,
    )
    done = object()
    while True:
        # Not while the text is read: what the process does then is its own business.
        with of_use(session.model.weights):
            if next(drawing, done) is done:
                return
        yield from pieces
        pieces.clear()


def _told(ids: list[int], progress: Callable[[int], object]) -> Iterator[int]:
    """The ids, each reported once it has been read."""
    for id in ids:
        yield id
        progress(1)

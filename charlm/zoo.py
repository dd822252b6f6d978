"""The zoo: every cell trained on one corpus, for the same time, at about the same size.

Finds the width that gives a cell the size, trains it as any run is trained, and measures how fast
it learned, how well it predicts and how fast it writes. Knows nothing of terminals: who watches is
told through `Watch`.
"""

import itertools
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm import atomic, model_file
from charlm.config import NO_CELL, NetworkConfig, TrainingConfig
from charlm.corpus import Corpus
from charlm.model_file import Model
from charlm.network import Network, build
from charlm.sampling import generate
from charlm.sampling.engine import engine_of
from charlm.sampling.processors import ban
from charlm.sampling.text import opening
from charlm.training import begin, counting, watch
from charlm.training.standing import Listener, Outcome
from charlm.training.watch import Watch

WIDTH_STEP = 16  # so that a width can be divided into heads
# Sampling is timed for so long, and longer for a slow cell, until it has made some text.
SAMPLING_S, LEAST_CHARS, AT_MOST_S = 1.0, 200, 10.0
WARM_UP_S = 0.1


@dataclass(frozen=True)
class Row:
    """What was found of one cell; None is for what could not be measured.

    `train_chars_per_s` counts the time between updates, validations and the saves after them left
    out; `val_chars` is how much text the validation read, and `sample_chars_per_s` is of one
    stream on numpy. `error` says why training failed.
    """

    cell: str
    layers: int | None
    width: int | None
    parameters: int
    train_chars_per_s: float | None = None
    val_bits_per_char: float | None = None
    val_nats_per_char: float | None = None
    val_chars: int | None = None
    sample_chars_per_s: float | None = None
    error: str | None = None


def contestant(cell: str, vocabulary: int, parameters: int) -> Network:
    """The network of `cell`, else as the cell wants it, whose size is nearest to `parameters`.

    That of counts alone has none.

    Law: no other multiple of WIDTH_STEP is nearer; of two equally near the narrower is taken.
    """
    if cell == NO_CELL:
        return build(NetworkConfig(cell=cell), vocabulary)
    networks = (
        build(NetworkConfig(cell=cell, width=width), vocabulary)
        for width in itertools.count(WIDTH_STEP, WIDTH_STEP)
    )
    # One of twice the size is no nearer than nothing at all, and the wider ones are larger still.
    narrowest = next(networks)
    fitting = itertools.takewhile(lambda n: n.parameters() < 2 * parameters, networks)
    return min([narrowest, *fitting], key=lambda n: abs(n.parameters() - parameters))


def usual_parameters(vocabulary: int) -> int:
    """The size of the network that `charlm train` makes when it is told nothing."""
    return build(NetworkConfig(), vocabulary).parameters()


def row(network: Network, **found: Any) -> Row:
    """The row of `network`, with what was found of it."""
    config = network.config
    return Row(config.cell, config.layers, config.width, network.parameters(), **found)


def warm_up(corpus: Corpus, training: TrainingConfig) -> None:
    """Makes one update of a small network, and forgets it.

    What torch loads for its first update, a second or so, would else be the first cell's loss.
    """
    with atomic.temporary_directory("charlm-zoo-") as folder:
        small = NetworkConfig(width=WIDTH_STEP)
        run = begin.begin(corpus, folder, small, training, Listener(), time.monotonic())
        run.trainer.step(0.0)


def train(
    network: Network, corpus: Corpus, out: Path, training: TrainingConfig, eyes: Watch
) -> tuple[Outcome, float | None]:
    """Trains `network` in a new run in `out`: how it ended, and its characters per second.

    The clock of its budget starts here; counts alone take the time that they take. Raises
    TrainingError where the run cannot go on.
    """
    if network.config.cell == NO_CELL:
        counts = replace(training, ngram=None)
        return counting.train(corpus, out, counts, eyes.listener(), time.monotonic()), None
    pace = Pace(eyes.listener())
    run = begin.begin(corpus, out, network.config, training, pace.listener(), time.monotonic())
    outcome = watch.go(run, eyes)
    if pace.tokens_per_s is None:
        return outcome, None
    size = corpus.size("train")
    return outcome, pace.tokens_per_s * size.chars / size.tokens


def measure(run: Path, train_chars_per_s: float | None, seed: int) -> Row:
    """The row of the cell whose finished run lies in the directory `run`."""
    model = model_file.load(run)
    return row(
        model.network,
        train_chars_per_s=train_chars_per_s,
        val_bits_per_char=model.history["val_bits_per_char"],
        val_nats_per_char=model.history["val_nats_per_char"],
        val_chars=model.history["val_chars"],
        sample_chars_per_s=sampling_chars_per_s(model, seed),
    )


class Pace:
    """How fast a run trains, by the laps between its updates.

    A lap with a validation in it, and with the save that follows, is left out.
    """

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._lap: tuple[float, int] | None = None  # when it began, and the tokens until then
        self._elapsed_s = 0.0
        self._tokens = 0

    def listener(self) -> Listener:
        """What tells the listener it was made with, and takes the time."""
        return replace(self._listener, report=self._report, update=self._update)

    @property
    def tokens_per_s(self) -> float | None:
        """Tokens read per second of training; None before there was a lap."""
        return self._tokens / self._elapsed_s if self._elapsed_s else None

    def _report(self, entry: dict[str, Any]) -> None:
        if "val_nats_per_char" in entry:
            self._lap = None
        self._listener.report(entry)

    def _update(self, progress: float, tokens: int) -> None:
        now = time.monotonic()
        if self._lap is not None:
            began, tokens_before = self._lap
            self._elapsed_s += now - began
            self._tokens += tokens - tokens_before
        self._lap = (now, tokens)
        self._listener.update(progress, tokens)


def sampling_chars_per_s(model: Model, seed: int) -> float:
    """The characters that one stream on numpy draws per second, after a short warm-up."""
    tokenizer = model.tokenizer
    engine = engine_of(model)
    place = generate.read(engine, opening(tokenizer, model.records))
    decoder = tokenizer.decoder()
    # These stand for no text, and an unlucky model might draw nothing else.
    silent = [id for id in (tokenizer.boundary, tokenizer.unknown) if id is not None]

    def drawn_per_s(least_s: float, least_chars: int) -> float:
        began, chars = time.monotonic(), 0

        def listen(row: generate.Row, id: int, logits: np.ndarray) -> bool:
            nonlocal chars
            chars += len(decoder.feed(id))
            elapsed_s = time.monotonic() - began
            return elapsed_s < AT_MOST_S and (elapsed_s < least_s or chars < least_chars)

        drawing = generate.Drawing(seed, [ban(silent)] if silent else [])
        generate.generate(engine, [generate.Row(0, place=place)], drawing, listen)
        return chars / (time.monotonic() - began)

    drawn_per_s(WARM_UP_S, 0)
    return drawn_per_s(SAMPLING_S, LEAST_CHARS)

"""How well a network predicts a split, in torch, every token predicted exactly once.

A split is one text, or one record after another, and is read as `charlm eval` reads it: see
measuring.parallel. So the figure does not depend on the training's batch or context. A
bidirectional network reads every token with text on both sides of it.
"""

import itertools
import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from charlm.corpus import Corpus
from charlm.measuring.parallel import (
    CONTEXT,
    LEAST,
    MOST_LOGITS,
    ROWS,
    TOLERANCE,
    WARMUP,
    after,
    record_begins,
    record_figures,
    rows_of,
    text_figures,
)
from charlm.measuring.symbols import unread_of_corpus
from charlm.network import Bidirectional, Network
from charlm.network.costs import TOKENS
from charlm.network.stack import Weights
from charlm.network.states import State, differ, take_rows
from charlm.sampling.text import opening
from charlm.score import Score
from charlm.training import both_sides
from charlm.training.streams import IGNORED, Batch, RecordStreams, window_of

PROBES = 8  # batches
REREADS = 2  # of a text by a network that forgets slowly, about


@torch.no_grad()
def validate(
    network: Network,
    weights: dict[str, Tensor],
    corpus: Corpus,
    split: str = "val",
    *,
    share: float = 1.0,
    proceed: Callable[[], None] = lambda: None,
) -> Score:
    """The score of the first `share` of a split; `proceed`, called in each batch, may raise."""
    every = corpus.ids(split)
    ids = every[: round(len(every) * share)]
    reader = ScannedReader(network, network.arrange(weights), proceed)
    if isinstance(network, Bidirectional):
        nats = sum(float(found.sum()) for found in _both_sides_nats(reader, corpus, ids))
    elif corpus.records == "none":
        begin = after(reader, opening(corpus.tokenizer, corpus.records))
        nats = float(text_figures(reader, ids, begin)[0].sum())
    else:
        begins = record_begins(ids, corpus.tokenizer.boundary)
        nats = float(record_figures(reader, ids, begins).sum())
    size = corpus.size(split)
    whole = max(1, size.tokens)
    chars, size_bytes = size.chars * len(ids) // whole, size.bytes * len(ids) // whole
    unknown, of_all = (
        int(np.count_nonzero(some == corpus.tokenizer.unknown)) for some in (ids, every)
    )
    # The characters of the first share are not known exactly, and those of unknown words are few.
    unread = unread_of_corpus(corpus.tokenizer, corpus.records, every, size.chars)
    unread = unread * unknown // max(1, of_all)
    return Score(nats, len(ids), chars, size_bytes, unknown, unread=unread)


@torch.no_grad()
def seconds_needed(network: Network, weights: dict[str, Tensor], corpus: Corpus) -> float:
    """About how long `validate` takes on the whole validation split, from its first batches."""
    ids = corpus.ids("val")
    reader = ScannedReader(network, network.arrange(weights))
    both = isinstance(network, Bidirectional)
    probes = _both_sides_nats(reader, corpus, ids) if both else _probes(reader, ids)
    tokens, moments = [], []
    for nats in itertools.islice(probes, PROBES):
        tokens.append(np.count_nonzero(nats))
        moments.append(time.monotonic())
    # The first batch pays for torch's own start-up.
    if len(moments) < 2:
        return 0.0
    read_s = (moments[-1] - moments[0]) * len(ids) / sum(tokens[1:])
    if corpus.records != "none" or both:
        return read_s
    rows = max(1, min(rows_of(reader), len(ids) // LEAST))
    warming_s = read_s * WARMUP * rows / len(ids)
    return read_s * (1 if _forgets(reader, ids) else 1 + REREADS) + warming_s


class ScannedReader:
    """A network on torch that reads many tokens of each row at once; a `parallel.Reader`."""

    xp = torch
    figures = 1
    batch_tokens = ROWS * CONTEXT

    def __init__(
        self, network: Network, w: Weights, proceed: Callable[[], None] = lambda: None
    ) -> None:
        self.network = network
        self.w = w
        self._proceed = proceed
        self.start = network.start
        self.logits_per_token = network.logits_per_token
        self.device = w["embedding"].device

    def initial_state(self, batch: int) -> State:
        """The state of `batch` rows before anything was read."""
        return self.network.initial_state(torch, self.w, batch)

    def read(
        self, inputs: np.ndarray, targets: np.ndarray | None, state: State, lengths: np.ndarray
    ) -> tuple[np.ndarray, State]:
        """The nats (1, B, T) of targets (B, T), and the next state; see `parallel.Reader`."""
        ids = torch.from_numpy(inputs).to(self.device)
        x, state = self.network.outputs(torch, self.w, ids, state)
        found = np.zeros((self.figures, *inputs.shape))
        if targets is not None:
            found = self.figures_of(x, targets)
        return found, take_rows(state, slice(int((lengths >= inputs.shape[1]).sum())))

    def figures_of(self, x: Tensor, targets: np.ndarray) -> np.ndarray:
        """The figures (F, B, T) of targets (B, T), from what leaves the blocks (B, T, D)."""
        return self.nats(self.network.logits, x, targets)[None]

    def nats(self, logits: Callable, x: Tensor, targets: np.ndarray) -> np.ndarray:
        """What targets (B, T) cost, a few logits at a time made of x (B, T, D); 0 if IGNORED."""
        self._proceed()
        x, ids = x.flatten(0, 1), torch.from_numpy(targets.ravel()).to(self.device)
        wide = self.network.is_wide
        at_once = TOKENS if wide else max(1, MOST_LOGITS // self.logits_per_token)
        nats = torch.empty(len(ids), device=self.device)
        for some, wanted, found in zip(
            x.split(at_once), ids.split(at_once), nats.split(at_once), strict=True
        ):
            if wide:
                costs = self.network.costs(torch, self.w, some, wanted.clamp(min=0))[0]
                found.copy_(costs.masked_fill_(wanted == IGNORED, 0))
            else:
                some = logits(torch, self.w, some).float()
                kept = {"ignore_index": IGNORED, "reduction": "none"}
                found.copy_(functional.cross_entropy(some, wanted, **kept))
        # In float64 on the CPU only, as not every device has it.
        return nats.cpu().double().numpy().reshape(targets.shape)


def _probes(reader: ScannedReader, ids: np.ndarray) -> Iterator[np.ndarray]:
    """The nats of batches as large as those in which a text is read."""
    rows = max(1, min(rows_of(reader), len(ids) // LEAST))
    firsts = np.arange(rows)[:, None] * (len(ids) // rows)
    for begin in range(0, len(ids) // rows, CONTEXT):
        places = firsts + np.arange(begin, min(begin + CONTEXT, len(ids) // rows))
        targets, lengths = ids[places].astype(np.int64), np.full(rows, places.shape[1])
        yield reader.read(targets, targets, reader.initial_state(rows), lengths)[0]


def _forgets(reader: ScannedReader, ids: np.ndarray) -> bool:
    """Whether what lies more than WARMUP tokens back makes no difference to the state."""
    if len(ids) < 2 * WARMUP:
        return True
    _, once = text_figures(reader, ids[WARMUP : 2 * WARMUP])
    _, twice = text_figures(reader, ids[: 2 * WARMUP])
    return not any(differ(twice, once, TOLERANCE))


def _both_sides_nats(
    reader: ScannedReader, corpus: Corpus, ids: np.ndarray
) -> Iterator[np.ndarray]:
    """The nats of batches in which each token counts once, by a bidirectional network."""
    network, w, state = reader.network, reader.w, None
    for batch in _both_sides_batches(reader, corpus, ids):
        if state is None or batch.fresh.all():
            state = reader.initial_state(len(batch.inputs))
        inputs = torch.from_numpy(batch.inputs).to(reader.device)
        after = both_sides.after(batch, network.start, reader.device)
        x, state = network.merged(torch, w, inputs, state, after)
        yield reader.nats(network.merged_logits, x, batch.targets)


def _both_sides_batches(reader: ScannedReader, corpus: Corpus, ids: np.ndarray) -> Iterator[Batch]:
    """Batches in which each token counts once, for a bidirectional network."""
    if corpus.records == "none":
        return _middles(ids, reader.start)
    streams = RecordStreams(
        ids,
        boundary=corpus.tokenizer.boundary,
        rows=ROWS,
        context=CONTEXT,
        start=reader.start,
        ahead=CONTEXT,
        shuffled=False,
    )
    return streams.batches(0)


def _middles(ids: np.ndarray, start: int) -> Iterator[Batch]:
    """Batches in which each token counts once, with WARMUP tokens, where there are, beside it."""
    begins = np.arange(0, len(ids), WARMUP)[:, None]
    for begin in np.array_split(begins, -(-len(begins) // ROWS)):
        firsts = np.maximum(begin - WARMUP, 0)
        positions = firsts + np.arange(2 * WARMUP)  # (B, T)
        window = window_of(ids, positions, WARMUP, len(ids))
        counts = (positions >= begin) & (positions < begin + WARMUP) & (positions < len(ids))
        targets = np.where(counts, window[:, : 2 * WARMUP], IGNORED)
        inputs = ids[np.clip(positions - 1, 0, len(ids) - 1)].astype(np.int64)
        inputs[:, 0] = start
        yield Batch(inputs, targets, np.ones(len(begin), dtype=bool), window)

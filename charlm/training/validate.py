"""How well a network predicts a split, in torch, every token predicted exactly once.

A split is one text, read from its beginning to its end with the state carried on. To do so in
parallel it is cut into up to 64 stretches, which are read side by side: each from the state that
the WARMUP tokens before it lead to. Where that turns out not to be the state in which the stretch
before it ended, the stretch is read again from there, piece by piece until the state is what it was
before, and once more if need be. How a split is cut depends on its length alone, so the figure does
not depend on the training's batch or context. Records begin anew anyway. A bidirectional network
reads every token with text on both sides of it.
"""

import itertools
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from charlm.corpus import Corpus
from charlm.network import Bidirectional, Network
from charlm.network.stack import Weights
from charlm.network.states import State, choose, differ, put_rows, take_rows
from charlm.score import Score
from charlm.training import both_sides
from charlm.training.streams import IGNORED, Batch, RecordStreams, window_of

STRETCHES = 64
WARMUP = 256
LEAST = 1024  # a stretch shorter than this would mostly be warming up
CONTEXT = 128
PIECES, KEPT = 16, 10**7  # of a stretch, and numbers of the states after them, both at most
PROBES = 8  # batches
TOLERANCE = 1e-3  # states so close predict the same to the fifth digit
# Most cells forget within a stretch, and one turn is enough. What one that hardly forgets lacks
# after two is what lay more than two stretches back, and changes the figure by next to nothing.
REREADS = 2


@torch.no_grad()
def validate(
    network: Network,
    weights: dict[str, Tensor],
    corpus: Corpus,
    split: str = "val",
    *,
    share: float = 1.0,
) -> Score:
    """The score of the first `share` of a split (all of it unless told)."""
    ids = corpus.ids(split)
    ids = ids[: round(len(ids) * share)]
    w = network.arrange(weights)
    if corpus.records == "none" and not isinstance(network, Bidirectional):
        nats = _read_in_stretches(network, w, ids)
    else:
        nats = sum(float(rows.sum()) for rows, _ in _read(network, w, _apart(network, corpus, ids)))
    size = corpus.size(split)
    whole = max(1, size.tokens)
    chars, size_bytes = size.chars * len(ids) // whole, size.bytes * len(ids) // whole
    unknown = int(np.count_nonzero(ids == corpus.tokenizer.unknown))
    return Score(nats, len(ids), chars, size_bytes, unknown)


@torch.no_grad()
def seconds_needed(network: Network, weights: dict[str, Tensor], corpus: Corpus) -> float:
    """About how long `validate` takes on the whole validation split, from its first batches."""
    ids = corpus.ids("val")
    w = network.arrange(weights)
    batches = _apart(network, corpus, ids)
    tokens, moments = [], []
    for batch in itertools.islice(batches, PROBES):
        for _ in _read(network, w, [replace(batch, fresh=np.ones_like(batch.fresh))]):
            tokens.append(batch.tokens)
            moments.append(time.monotonic())
    # The first batch pays for torch's own start-up.
    if len(moments) < 2:
        return 0.0
    read_s = (moments[-1] - moments[0]) * len(ids) / sum(tokens[1:])
    if corpus.records != "none" or isinstance(network, Bidirectional):
        return read_s
    warming_s = read_s * WARMUP * STRETCHES / max(len(ids), WARMUP * STRETCHES)
    return read_s * (1 if _forgets(network, w, ids) else 1 + REREADS) + warming_s


def _read_in_stretches(network: Network, w: Weights, ids: np.ndarray) -> float:
    """The nats of ids as one text."""
    begins, length = _cut(len(ids))
    rows = np.arange(len(begins))
    before = network.initial_state(torch, w, len(begins))
    numbers = sum(part.numel() for layer in before for part in layer)
    count = min(PIECES, max(1, KEPT // max(1, numbers)))
    piece = CONTEXT * max(1, -(-length // (CONTEXT * count)))
    edges = [*range(0, max(1, length), piece), length]
    pieces = range(len(edges) - 1)

    def read(rows: np.ndarray, i: int, state: State) -> tuple[np.ndarray, State]:
        firsts, ends = begins[rows] + edges[i], begins[rows] + edges[i + 1]
        batches = _stretches(ids, firsts, ends, network.start, fresh=False)
        return _read_all(network, w, batches, state)

    first = torch.arange(len(begins), device=w["embedding"].device) == 0
    if len(begins) > 1:
        # The first row begins at the beginning; what it reads here is forgotten.
        firsts = np.maximum(begins - WARMUP, 0)
        warming = _stretches(ids, firsts, firsts + WARMUP, network.start)
        _, warm = _read_all(network, w, warming, before)
        before = choose(torch, first, before, warm)
    nats, states, state = np.zeros((len(pieces), len(begins))), [], before
    for i in pieces:
        nats[i], state = read(rows, i, state)
        states.append(state)
    for _ in range(REREADS):
        expected = take_rows(states[-1], [0, *range(len(begins) - 1)])
        rows = np.flatnonzero(differ(before, expected, TOLERANCE)[1:]) + 1
        state = take_rows(expected, rows)
        before = put_rows(torch, before, rows, state)
        for i in pieces:
            if not len(rows):
                break
            nats[i, rows], state = read(rows, i, state)
            wrong = np.flatnonzero(differ(take_rows(states[i], rows), state, TOLERANCE))
            states[i] = put_rows(torch, states[i], rows, state)
            rows, state = rows[wrong], take_rows(state, wrong)
    return float(nats.sum())


def _forgets(network: Network, w: Weights, ids: np.ndarray) -> bool:
    """Whether what lies more than WARMUP tokens back makes no difference to the state."""
    if len(ids) < 2 * WARMUP:
        return True
    edges = np.arange(3)[:, None] * WARMUP
    initial = network.initial_state(torch, w, 1)

    def read(piece: int, state: State) -> State:
        batches = _stretches(ids, edges[piece], edges[piece + 1], network.start, fresh=False)
        return _read_all(network, w, batches, state)[1]

    return not any(differ(read(1, read(0, initial)), read(1, initial), TOLERANCE))


def _cut(length: int) -> tuple[np.ndarray, int]:
    """Where each stretch of a text of so many tokens begins, and how long it is."""
    rows = max(1, min(STRETCHES, length // LEAST))
    stretch = -(-length // rows)
    return np.arange(rows) * stretch, stretch


def _read_all(
    network: Network, w: Weights, batches: Iterable[Batch], state: State
) -> tuple[np.ndarray, State]:
    """The nats (B,) of all batches of the same rows, read from `state`, and the state after."""
    nats = np.zeros(len(state[0][0]))
    for rows, state in _read(network, w, batches, state):  # noqa: B007, B020
        nats += rows.numpy()
    return nats, state


def _stretches(
    ids: np.ndarray, firsts: np.ndarray, ends: np.ndarray, start: int, *, fresh: bool = True
) -> Iterator[Batch]:
    """Batches over the rows [first, end) of ids, all of one length; the text may end in the last.

    Fresh rows begin with the start symbol, the others go on from the token before them; the first
    token of the text always follows the start symbol.
    """
    length = int((ends - firsts).max(initial=0))
    for begin in range(0, length, CONTEXT):
        positions = firsts[:, None] + np.arange(begin, min(begin + CONTEXT, length))  # (B, T)
        targets = ids[np.minimum(positions, len(ids) - 1)].astype(np.int64)
        inputs = ids[np.clip(positions - 1, 0, len(ids) - 1)].astype(np.int64)
        begun = (positions[:, 0] == 0) | (fresh and begin == 0)
        inputs[begun, 0] = start
        inside = positions < len(ids)
        yield Batch(inputs, np.where(inside, targets, IGNORED), begun, targets)


def _apart(network: Network, corpus: Corpus, ids: np.ndarray) -> Iterator[Batch]:
    """Batches that can be read without knowing what came before: records, or stretches of text."""
    if corpus.records != "none":
        streams = RecordStreams(
            ids,
            boundary=corpus.tokenizer.boundary,
            rows=STRETCHES,
            context=CONTEXT,
            start=network.start,
            ahead=CONTEXT if isinstance(network, Bidirectional) else 0,
            shuffled=False,
        )
        return streams.batches(0)
    if isinstance(network, Bidirectional):
        return _middles(ids, network.start)
    begins, length = _cut(len(ids))
    return _stretches(ids, begins, begins + length, network.start)


def _middles(ids: np.ndarray, start: int) -> Iterator[Batch]:
    """Batches in which each token counts once, with WARMUP tokens, where there are, beside it."""
    begins = np.arange(0, len(ids), WARMUP)[:, None]
    for begin in np.array_split(begins, -(-len(begins) // STRETCHES)):
        firsts = np.maximum(begin - WARMUP, 0)
        positions = firsts + np.arange(2 * WARMUP)  # (B, T)
        window = window_of(ids, positions, WARMUP, len(ids))
        counts = (positions >= begin) & (positions < begin + WARMUP) & (positions < len(ids))
        targets = np.where(counts, window[:, : 2 * WARMUP], IGNORED)
        inputs = ids[np.clip(positions - 1, 0, len(ids) - 1)].astype(np.int64)
        inputs[:, 0] = start
        yield Batch(inputs, targets, np.ones(len(begin), dtype=bool), window)


def _read(
    network: Network, w: Weights, batches: Iterable[Batch], state: State | None = None
) -> Iterator[tuple[Tensor, State]]:
    """The nats (B,) of each batch, in float64, and the state after it.

    Without a state, or where all rows are fresh, a batch begins with the initial state.
    """
    device = w["embedding"].device
    for batch in batches:
        if state is None or batch.fresh.all():
            state = network.initial_state(torch, w, len(batch.inputs))
        inputs = torch.from_numpy(batch.inputs).to(device)
        targets = torch.from_numpy(batch.targets).to(device)
        more = {}
        if isinstance(network, Bidirectional):
            more["after"] = both_sides.after(batch, network.start, device)
        logits, state = network.scan(torch, w, inputs, state, **more)
        nats = functional.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="none"
        )
        # Summed on the CPU, in float64, which not every device has.
        yield nats.view(targets.shape).cpu().sum(1, dtype=torch.float64), state

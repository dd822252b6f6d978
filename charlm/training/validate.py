"""How well a network predicts a split, in torch, every token predicted exactly once.

The split is read in up to 64 stretches side by side. Each stretch but the first begins WARMUP
tokens early, which only bring its state up to date and are not counted: the network remembers
little that is older (measured on tiny Shakespeare: the sum differs from one long read by less than
1 in 10,000). How a split is cut depends on its length alone, so the figure does not depend on the
training's batch or context. Records begin anew anyway and are read whole.
"""

import time
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from charlm.corpus import Corpus
from charlm.network import Network
from charlm.score import Score
from charlm.training.streams import IGNORED, Batch, RecordStreams

STRETCHES = 64
WARMUP = 256
LEAST = 1024  # a stretch shorter than this would mostly be warming up
CONTEXT = 128
PROBES = 8  # batches


def validate(
    network: Network,
    weights: dict[str, Tensor],
    corpus: Corpus,
    split: str = "val",
    *,
    share: float = 1.0,
) -> Score:
    """The score of the first `share` of a split (all of it unless told)."""
    nats = tokens = 0
    for batch_nats, batch_tokens in _scores(network, weights, corpus, split, share):
        nats += batch_nats
        tokens += batch_tokens
    size = corpus.size(split)
    whole = max(1, size.tokens)
    return Score(nats, tokens, size.chars * tokens // whole, size.bytes * tokens // whole)


def seconds_needed(network: Network, weights: dict[str, Tensor], corpus: Corpus) -> float:
    """About how long `validate` takes on the whole validation split, from its first batches."""
    done, moments = 0, []
    for _, tokens in _scores(network, weights, corpus, "val", 1.0):
        moments.append(time.monotonic())
        # The first batch pays for torch's own start-up, and warms up more than it counts.
        done += tokens if len(moments) > PROBES // 2 else 0
        if len(moments) == PROBES:
            break
    if len(moments) < PROBES or not done:
        return 0.0
    spent_s = moments[-1] - moments[PROBES // 2 - 1]
    return spent_s * corpus.size("val").tokens / done


@torch.no_grad()
def _scores(
    network: Network, weights: dict[str, Tensor], corpus: Corpus, split: str, share: float
) -> Iterator[tuple[float, int]]:
    """The nats and the counted tokens of each batch."""
    ids = corpus.ids(split)
    ids = ids[: round(len(ids) * share)]
    w = network.arrange(weights)
    device = w["embedding"].device
    state = None
    for batch in _batches(corpus, ids, network.start):
        if batch.fresh:
            state = network.initial_state(torch, w, len(batch.inputs))
        inputs = torch.from_numpy(batch.inputs).to(device)
        targets = torch.from_numpy(batch.targets).to(device)
        logits, state = network.scan(torch, w, inputs, state)
        nats = functional.cross_entropy(
            logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction="sum"
        )
        yield nats.item(), batch.tokens


def _batches(corpus: Corpus, ids: np.ndarray, start: int) -> Iterator[Batch]:
    if corpus.records != "none":
        streams = RecordStreams(
            ids,
            boundary=corpus.tokenizer.boundary,
            rows=STRETCHES,
            context=CONTEXT,
            start=start,
            shuffled=False,
        )
        return streams.batches(0)
    return stretches(ids, start)


def stretches(ids: np.ndarray, start: int) -> Iterator[Batch]:
    """Batches over a text cut into stretches with warm-up. Law: every token counts once."""
    rows = max(1, min(STRETCHES, len(ids) // LEAST))
    edges = np.arange(rows + 1) * len(ids) // rows
    ends = edges[1:, None]
    firsts = np.maximum(edges[:-1, None] - WARMUP, 0)  # (B, 1)
    length = int((ends - firsts).max(initial=0))
    for begin in range(0, length, CONTEXT):
        positions = firsts + np.arange(begin, min(begin + CONTEXT, length))  # (B, T)
        counted = (positions >= edges[:-1, None]) & (positions < ends)
        targets = ids[np.minimum(positions, len(ids) - 1)].astype(np.int64)
        inputs = ids[np.clip(positions - 1, 0, len(ids) - 1)].astype(np.int64)
        if begin == 0:
            inputs[firsts[:, 0] == 0, 0] = start
        yield Batch(inputs, np.where(counted, targets, IGNORED), fresh=begin == 0)

"""A model that charlm exported, for torch and safetensors alone: nothing here needs charlm.

    network, start = load("FOLDER")  # the folder in which this file lies
    logits, state = network(torch.tensor([[start]]))  # what a text begins with
    logits, state = network(ids, state)  # ids (B, T) of tokenizer.json, logits (B, T, V)

logits[:, t] are of what follows ids[:, t]. It is an ordinary module, which trains, too.
"""

import json
import math
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

LAYERS = {"rnn": nn.RNN, "rnn-relu": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
NORMS = {"layer": nn.LayerNorm, "rms": nn.RMSNorm}


def norm_of(kind: str, size: int) -> nn.Module:
    """The norm before a layer or the head, which may do nothing."""
    return NORMS[kind](size, eps=1e-5) if kind in NORMS else nn.Identity()


class Block(nn.Module):
    """A recurrent layer with its norm and what follows it."""

    def __init__(self, cell: str, inputs: int, width: int, norm: str, residual: bool, hidden: int):
        super().__init__()
        more = {"nonlinearity": "relu"} if cell == "rnn-relu" else {}
        self.residual = residual and inputs == width
        self.norm = norm_of(norm, inputs)
        self.layer = LAYERS[cell](inputs, width, batch_first=True, **more)
        self.hidden = hidden  # units of the feed-forward part; 0 where there is none
        if hidden:
            self.feed_norm = norm_of(norm, width)
            self.inward = nn.Linear(width, 2 * hidden, bias=False)
            self.outward = nn.Linear(hidden, width, bias=False)

    def forward(self, x: Tensor, state: Tensor | tuple | None) -> tuple[Tensor, Tensor | tuple]:
        """The output (B, T, D) and the next state."""
        y, state = self.layer(self.norm(x), state)
        x = x + y if self.residual else y
        if self.hidden:
            gate, value = self.inward(self.feed_norm(x)).chunk(2, -1)
            x = x + self.outward(nn.functional.silu(gate) * value)
        return x, state


class Network(nn.Module):
    """Embedding, blocks and head: logits (B, T, V) and the next state, from ids and the state."""

    def __init__(self, vocabulary: int, embedding: int, projected: bool, blocks: list[dict]):
        super().__init__()
        width, norm = blocks[-1]["width"], blocks[-1]["norm"]
        self.embedding = nn.Embedding(vocabulary + 1, embedding)  # the last row is for `start`
        self.blocks = nn.ModuleList(Block(**block) for block in blocks)
        self.norm = norm_of(norm, width)
        self.projection = nn.Linear(width, embedding, bias=False) if projected else nn.Identity()
        self.head = nn.Linear(embedding if projected else width, vocabulary)

    def forward(self, ids: Tensor, state: list | None = None) -> tuple[Tensor, list]:
        """The logits of what follows each of ids, read from a state, or from the beginning."""
        x, after = self.embedding(ids), []
        for block, before in zip(self.blocks, state or [None] * len(self.blocks), strict=True):
            x, last = block(x, before)
            after.append(last)
        return self.head(self.projection(self.norm(x))), after


class Ensemble(nn.Module):
    """Networks side by side; its logits are the logarithms of the mean of their probabilities."""

    def __init__(self, members: int, **shape: object):
        super().__init__()
        self.members = nn.ModuleList(Network(**shape) for _ in range(members))

    def forward(self, ids: Tensor, state: list | None = None) -> tuple[Tensor, list]:
        """The logits of what follows each of ids, read from a state, or from the beginning."""
        states = state or [None] * len(self.members)
        found = [own(ids, before) for own, before in zip(self.members, states, strict=True)]
        each = torch.stack([logits.log_softmax(-1) for logits, _ in found])
        return each.logsumexp(0) - math.log(len(each)), [after for _, after in found]


def load(folder: str | Path = Path(__file__).parent) -> tuple[Network | Ensemble, int]:
    """The network, and the id that is read before the first of a text."""
    config = json.loads((Path(folder) / "network.json").read_text())
    network = Ensemble(**config) if "members" in config else Network(**config)
    network.load_state_dict(load_file(Path(folder) / "model.safetensors"))
    return network, config["vocabulary"]

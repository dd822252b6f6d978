"""charlm against nanoGPT's recipe for a CPU, each in a process of its own for the same time.

The recipe is that of karpathy/nanoGPT's README: 4 blocks of width 128, windows of 64 characters, 12
of them an update, no dropout. It is written here with torch's own layers, and its schedule is given
all of the time; starting and validating are not counted against it, as they are against charlm.

`counts` has beside it the recipe of karpathy/char-rnn: an LSTM of 2 layers of 128 on one-hot
characters, 50 streams of 50 characters an update, RMSprop, gradients clipped to 5 each, the rate
0.97 times less with each epoch from the tenth on, no dropout.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from bench.measure import figure, tiny_shakespeare
from charlm import corpora
from charlm.corpus import Corpus

CHARLM = str(Path(sys.executable).parent / "charlm")
BUDGET_S, SEEDS = 133, (1,)
WIDTH, HEADS, BLOCKS, WINDOW, ROWS = 128, 4, 4, 64, 12
PEAK_LR, LEAST_LR, WARMUP_SHARE = 1e-3, 1e-4, 0.05
RNN_LAYERS, RNN_WIDTH, RNN_ROWS, RNN_CONTEXT = 2, 128, 50, 50
RNN_LR, RNN_DECAY, RNN_DECAY_AFTER, RNN_CLIP = 2e-3, 0.97, 10, 5.0
SEEN = WINDOW // 2  # what a predicted character has at least before it


class Transformer(nn.Module):
    """The network of the recipe."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.symbols = nn.Embedding(vocabulary, WIDTH)
        self.places = nn.Embedding(WINDOW, WIDTH)
        block = nn.TransformerEncoderLayer(
            WIDTH, HEADS, 4 * WIDTH, 0.0, "gelu", batch_first=True, norm_first=True, bias=False
        )
        norm = nn.LayerNorm(WIDTH, bias=False)
        self.blocks = nn.TransformerEncoder(block, BLOCKS, norm, enable_nested_tensor=False)
        self.register_buffer("mask", nn.Transformer.generate_square_subsequent_mask(WINDOW))
        for name, p in self.named_parameters():
            if p.ndim > 1:
                deep = name.endswith(("out_proj.weight", "linear2.weight"))
                nn.init.normal_(p, std=0.02 / (2 * BLOCKS) ** 0.5 if deep else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        """The logits (B, T, V) of what follows each of ids (B, T)."""
        T = ids.shape[1]
        x = self.symbols(ids) + self.places.weight[:T]
        x = self.blocks(x, mask=self.mask[:T, :T], is_causal=True)
        return x @ self.symbols.weight.T


def windows(ids: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """The windows (B, WINDOW) of ids that begin there, and what follows each place of them."""
    places = starts[:, None] + torch.arange(WINDOW + 1)
    found = ids[places]
    return found[:, :-1], found[:, 1:]


def train_transformer(ids: Tensor, vocabulary: int, seconds: float) -> Transformer:
    """The network after so many seconds."""
    network = Transformer(vocabulary)
    matrices = [p for p in network.parameters() if p.ndim > 1]
    vectors = [p for p in network.parameters() if p.ndim < 2]
    groups = [{"params": matrices, "weight_decay": 0.1}, {"params": vectors, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, PEAK_LR, betas=(0.9, 0.99), fused=True)
    began = time.perf_counter()
    while (share := (time.perf_counter() - began) / seconds) < 1:
        falling = max(0.0, share - WARMUP_SHARE) / (1 - WARMUP_SHARE)
        cosine = LEAST_LR + (PEAK_LR - LEAST_LR) * 0.5 * (1 + math.cos(math.pi * falling))
        for group in optimizer.param_groups:
            group["lr"] = min(PEAK_LR * share / WARMUP_SHARE, cosine)
        x, y = windows(ids, torch.randint(len(ids) - WINDOW, (ROWS,)))
        nn.functional.cross_entropy(network(x).flatten(0, 1), y.flatten()).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    return network


@torch.inference_mode()
def transformer_nats(network: Transformer, ids: Tensor) -> float:
    """Nats per character, every character but the first predicted once, with SEEN before it."""
    nats, count = 0.0, 0
    for begin in range(0, len(ids) - 1, SEEN):
        x = ids[max(0, begin - SEEN) : begin + SEEN]
        y = ids[max(0, begin - SEEN) + 1 : begin + SEEN + 1]
        new = min(SEEN, len(ids) - 1 - begin)
        logits = network(x[None, : len(y)])[0, -new:]
        nats += float(nn.functional.cross_entropy(logits, y[-new:], reduction="sum"))
        count += new
    return nats / count


class CharRnn(nn.Module):
    """The network of char-rnn."""

    def __init__(self, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.lstm = nn.LSTM(vocabulary, RNN_WIDTH, RNN_LAYERS, batch_first=True)
        self.head = nn.Linear(RNN_WIDTH, vocabulary)
        for p in self.parameters():
            nn.init.uniform_(p, -0.08, 0.08)
        for layer in range(RNN_LAYERS):  # gates: input, forget, cell, output
            bias = getattr(self.lstm, f"bias_ih_l{layer}")
            nn.init.ones_(bias.data[RNN_WIDTH : 2 * RNN_WIDTH])

    def forward(self, ids: Tensor, state: Any = None) -> tuple[Tensor, Any]:
        """The logits (B, T, V) of what follows each of ids (B, T), and the state after them."""
        x = nn.functional.one_hot(ids, self.vocabulary).float()
        y, state = self.lstm(x, state)
        return self.head(y), state


def train_char_rnn(ids: Tensor, vocabulary: int, seconds: float) -> CharRnn:
    """The network after so many seconds."""
    network = CharRnn(vocabulary)
    optimizer = torch.optim.RMSprop(network.parameters(), RNN_LR, alpha=0.95, eps=1e-8)
    rows = ids[: (len(ids) - 1) // RNN_ROWS * RNN_ROWS].view(RNN_ROWS, -1)
    targets = ids[1 : rows.numel() + 1].view(RNN_ROWS, -1)
    updates, step, state = max(1, rows.shape[1] // RNN_CONTEXT), 0, None
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        epoch, place = divmod(step, updates)
        if not place:
            state = None
            for group in optimizer.param_groups:
                group["lr"] = RNN_LR * RNN_DECAY ** max(0, epoch - RNN_DECAY_AFTER)
        part = slice(place * RNN_CONTEXT, (place + 1) * RNN_CONTEXT)
        logits, state = network(rows[:, part], state)
        state = tuple(one.detach() for one in state)
        nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, part].flatten()).backward()
        nn.utils.clip_grad_value_(network.parameters(), RNN_CLIP)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
    return network


@torch.inference_mode()
def char_rnn_nats(network: CharRnn, ids: Tensor) -> float:
    """Nats per character, every character but the first predicted once, after all before it."""
    nats, state = 0.0, None
    for begin in range(0, len(ids) - 1, 1 << 12):
        y = ids[begin + 1 : begin + 1 + (1 << 12)]
        logits, state = network(ids[None, begin : begin + len(y)], state)
        nats += float(nn.functional.cross_entropy(logits[0], y, reduction="sum"))
    return nats / (len(ids) - 1)


RECIPES = {
    "nanoGPT": (train_transformer, transformer_nats),
    "char-rnn": (train_char_rnn, char_rnn_nats),
}


def recipe(data: Path, seed: int, name: str = "nanoGPT", seconds: float = BUDGET_S) -> float:
    """The nats per character of the held-out split that a recipe reaches on a corpus."""
    command = [sys.executable, "-m", "bench.peers", str(data), str(seed), name, str(seconds)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return json.loads(done.stdout)


def reached(corpus: Corpus, seed: int, name: str, seconds: float) -> float:
    """The same, in this process. The held-out split is the test split where there is one.

    It is read after a newline, as charlm reads a text, so that each of its characters is predicted.
    """
    split = "test" if corpus.size("test").tokens else "val"
    train_ids, held_out = (
        torch.from_numpy(corpus.ids(part).astype("int64")) for part in ("train", split)
    )
    train, nats = RECIPES[name]
    torch.manual_seed(seed)
    network = train(train_ids, corpus.tokenizer.vocabulary, seconds).eval()
    newline = torch.tensor(corpus.tokenizer.encode("\n"))
    return nats(network, torch.cat([newline, held_out]))


def ours(data: Path, seed: int, run: Path) -> float:
    """What charlm reaches on it, whose budget is the whole process."""
    command = [CHARLM, "train", str(data), "-o", str(run), "--force", "--json"]
    command += ["--budget", f"{BUDGET_S}s", "--seed", str(seed)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["val_nats_per_char"]


def main() -> None:
    """Prints the figures."""
    with tempfile.TemporaryDirectory() as folder:
        docs = Path(folder) / "python-docs.txt"
        docs.write_bytes(b"".join(corpora.open_text(corpora.describe("python-docs"))))
        for name, text in (("python-docs", docs), ("tiny Shakespeare", tiny_shakespeare())):
            data = Path(folder) / text.stem
            prep = [CHARLM, "prep", str(text), "-o", str(data), "--val", "0.1", "--test", "0"]
            subprocess.run(prep, check=True, capture_output=True)
            found = [(recipe(data, seed), ours(data, seed, Path(folder) / "run")) for seed in SEEDS]
            theirs, mine = (statistics.median(column) for column in zip(*found, strict=True))
            how = f"{BUDGET_S} s each, in turn, seeds {SEEDS}, the whole validation split"
            figure(f"{name}, nanoGPT's recipe", theirs, "nats/char", how=how)
            figure(f"{name}, charlm", mine, "nats/char", how=how)
            figure(f"{name}, less by", theirs - mine, "nats/char", target="≥ 0.2", how=how)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        data, seed, name, seconds = sys.argv[1:]
        print(reached(Corpus(Path(data)), int(seed), name, float(seconds)))
    else:
        main()

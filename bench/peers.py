"""charlm against nanoGPT's recipe for a CPU, each in a process of its own for the same time.

The recipe is that of karpathy/nanoGPT's README: 4 blocks of width 128, windows of 64 characters, 12
of them an update, no dropout. It is written here with torch's own layers, and its schedule is given
all of the time; starting and validating are not counted against it, as they are against charlm.
"""

import json
import math
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.measure import figure, tiny_shakespeare
from charlm import corpora
from charlm.corpus import Corpus

CHARLM = str(Path(sys.executable).parent / "charlm")
BUDGET_S, SEEDS = 133, (1,)
WIDTH, HEADS, BLOCKS, WINDOW, ROWS = 128, 4, 4, 64, 12
PEAK_LR, LEAST_LR, WARMUP_SHARE = 1e-3, 1e-4, 0.05
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


def train(ids: Tensor, vocabulary: int, seconds: float, seed: int) -> Transformer:
    """The network after so many seconds."""
    torch.manual_seed(seed)
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
def validate(network: Transformer, ids: Tensor) -> float:
    """Nats per character, every character but the first predicted once, with SEEN before it."""
    network.eval()
    nats, count = 0.0, 0
    for begin in range(0, len(ids) - 1, SEEN):
        x = ids[max(0, begin - SEEN) : begin + SEEN]
        y = ids[max(0, begin - SEEN) + 1 : begin + SEEN + 1]
        new = min(SEEN, len(ids) - 1 - begin)
        logits = network(x[None, : len(y)])[0, -new:]
        nats += float(nn.functional.cross_entropy(logits, y[-new:], reduction="sum"))
        count += new
    return nats / count


def recipe(data: Path, seed: int) -> float:
    """What the recipe reaches on a corpus."""
    command = [sys.executable, "-m", "bench.peers", str(data), str(seed)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)


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
        corpus = Corpus(Path(sys.argv[1]))
        parts = {part: torch.tensor(corpus.ids(part).astype("int64")) for part in ("train", "val")}
        trained = train(parts["train"], corpus.tokenizer.vocabulary, BUDGET_S, int(sys.argv[2]))
        print(validate(trained, parts["val"]))
    else:
        main()

"""One stream of text: charlm's numpy step against the eager torch loop with the same weights."""

import string
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from bench.measure import figure, in_turn
from charlm import model_file
from charlm.config import NetworkConfig
from charlm.model_file import Model
from charlm.network import Network
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.forms import char_form
from charlm.training.initialise import initial_weights

WIDTH, LAYERS, LENGTH, RUNS = 512, 2, 10_000, 5
TORCH_LENGTH = 300  # the slow side; characters/s do not depend on how many


def random_model(*, width: int, layers: int, cell: str = "lstm") -> Model:
    """An untrained model over the 65 symbols of tiny Shakespeare, sure enough of itself."""
    symbols = [*"\n !$&',-.3:;?", *string.ascii_letters]
    form = char_form(symbols, boundary=False, unknown=False, normalize="none")
    tokenizer = Tokenizer.from_json(form)
    config = NetworkConfig(cell=cell, width=width, layers=layers)
    network = Network(config, tokenizer.vocabulary)
    weights = {n: w.numpy().copy() for n, w in initial_weights(network, seed=1).items()}
    # Logits far apart, so that the greedy text is not a matter of rounding.
    weights["head.weight"] *= 20
    return Model(network=network, weights=weights, tokenizer=tokenizer)


class EagerLoop:
    """What a user of torch would write: nn.Embedding, nn.LSTM and nn.Linear, a step at a time."""

    def __init__(self, model: Model) -> None:
        w = {name: torch.from_numpy(value) for name, value in model.weights.items()}
        config = model.network.config
        self.embedding = torch.nn.Embedding.from_pretrained(w["embedding"])
        self.lstm = torch.nn.LSTM(config.embedding, config.width, config.layers, batch_first=True)
        self.head = torch.nn.Linear(config.width, model.network.vocabulary)
        with torch.no_grad():
            for layer in range(config.layers):
                cell = f"blocks.{layer}.cell."
                getattr(self.lstm, f"weight_ih_l{layer}").copy_(w[cell + "weight_x"])
                getattr(self.lstm, f"weight_hh_l{layer}").copy_(w[cell + "weight_h"])
                getattr(self.lstm, f"bias_ih_l{layer}").copy_(w[cell + "bias"])
                getattr(self.lstm, f"bias_hh_l{layer}").zero_()
            self.head.weight.copy_(w["head.weight"])
            self.head.bias.copy_(w["head.bias"])

    @torch.inference_mode()
    def greedy(self, first: list[int], length: int) -> list[int]:
        """The ids of the most likely continuation."""
        ids, state = [], None
        for id in first:
            y, state = self.lstm(self.embedding(torch.tensor([[id]])), state)
        for _ in range(length):
            ids.append(int(self.head(y[0, -1]).argmax()))
            y, state = self.lstm(self.embedding(torch.tensor([[ids[-1]]])), state)
        return ids

    def chars_per_s(self, first: list[int], length: int) -> float:
        """The speed of that."""
        began = time.perf_counter()
        self.greedy(first, length)
        return length / (time.perf_counter() - began)


def command_chars_per_s(path: Path, length: int) -> float:
    """The speed of `charlm sample` between its first and its last character."""
    command = [sys.executable, "-m", "charlm", "sample", str(path), "--seed", "1", "--length"]
    began = time.perf_counter()
    subprocess.run([*command, "1"], check=True, capture_output=True)
    short_s = time.perf_counter() - began
    began = time.perf_counter()
    subprocess.run([*command, str(length)], check=True, capture_output=True)
    return (length - 1) / (time.perf_counter() - began - short_s)


def products_per_s(model: Model) -> float:
    """How many steps a second the bare matrix-vector products of a step would allow."""
    w = model.network.arrange(model.weights)
    cells = [part["cell"] for part in w["stack"]]
    matrices = [cells[0]["weight_h"], w["head"]["weight"]]  # layer 0's input product is a table
    matrices += [cell[name] for cell in cells[1:] for name in ("weight_x", "weight_h")]
    vectors = [np.ones((1, matrix.shape[1]), np.float32) for matrix in matrices]
    began = time.perf_counter()
    for _ in range(LENGTH):
        for matrix, vector in zip(matrices, vectors, strict=True):
            vector @ matrix.T
    return LENGTH / (time.perf_counter() - began)


def main() -> None:
    """Prints the figures."""
    model = random_model(width=WIDTH, layers=LAYERS)
    loop = EagerLoop(model)
    newline = int(model.tokenizer.encode("\n")[0])
    first = [model.network.start, newline]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.safetensors"
        model_file.save(model, path)
        command = [sys.executable, "-m", "charlm", "sample", str(path), "--greedy"]
        command += ["--length", str(TORCH_LENGTH)]
        text = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        same = text[:TORCH_LENGTH] == model.tokenizer.decode(loop.greedy(first, TORCH_LENGTH))
        loop.greedy(first, 20)
        found = in_turn(
            RUNS,
            eager=lambda: loop.chars_per_s(first, TORCH_LENGTH),
            ours=lambda: command_chars_per_s(path, LENGTH),
            bound=lambda: products_per_s(model),
        )
    how = f"lstm {LAYERS}x{WIDTH}, one stream, median of {RUNS} in turn"
    figure("eager nn.LSTM loop", found["eager"], "chars/s", how=how)
    figure(f"charlm sample --length {LENGTH}", found["ours"], "chars/s", how=how)
    figure("ratio to the eager loop", found["ours"] / found["eager"], "x", target="≥ 20", how=how)
    share = found["ours"] / found["bound"]
    figure("share of the bare matrix-vector bound", share, "x", target="≥ 0.75", how=how)
    figure(
        "same greedy text", float(same), "(1 is yes)", target="1", how=f"{TORCH_LENGTH} characters"
    )


if __name__ == "__main__":
    main()

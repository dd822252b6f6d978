"""Whether broken and hostile files do any harm: mutated files of every kind, opened and used.

Each file is a whole one that was cut off, had bits flipped, or was crafted: a header that promises
too much, numbers and shapes beyond all measure, JSON that is deep or of other types, checksums that
fit what was changed. Whatever it is, using it must end in success or in an error that the command
line tells in one line, within 5 seconds and 1 GB of memory.
"""

import argparse
import io
import json
import random
import resource
import struct
import sys
import tempfile
import time
import traceback
import zlib
from collections import Counter
from collections.abc import Callable
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import figure
from charlm import model_file
from charlm.compression import compress, decompress
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import Corpus, prepare
from charlm.errors import CharlmError
from charlm.model_file import Model
from charlm.network import Network
from charlm.novelty import Index, build
from charlm.sampling import states
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.generate import Place
from charlm.training import begin, directory
from charlm.training.initialise import initial_weights
from charlm.training.standing import Listener

FILES = 50_000
LONGEST_S, LARGEST_BYTES = 5.0, 10**9
TEXT = "the cat sat on the mat; the dog sat on the log.\n" * 20
LEVELS = ("char", "word", "bpe")
ODD = [
    0, -1, 1, 2**31, 2**63, 10**30, -(2**63), 0.5, 1e308, float("nan"), float("inf"), None, True,
    "", "x", "\ud800", "\0", "a" * 10_000, [], {}, [[]], {"a": {}}, [1] * 1000, "lstm," * 1000,
]  # fmt: skip


class Bench:
    """Whole files of every kind in a folder, and for each kind what uses one."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "text").write_text(TEXT)
        self.models = {level: self._model(level) for level in LEVELS}
        self.whole: dict[str, tuple[Path, Callable[[Path], Any]]] = {}
        for level, model in self.models.items():
            data = folder / level
            for name in ("corpus.json", "tokenizer.json", "train.bin", "val.bin"):
                self.whole[f"{level} {name}"] = data / name, lambda path: use_corpus(path.parent)
            self.whole[f"{level} model"] = folder / f"{level}.model", use_model
            self.whole[f"{level} state"] = (
                folder / f"{level}.state",
                lambda path, model=model: states.load(path, model),
            )
            self.whole[f"{level} compressed"] = (
                folder / f"{level}.clm",
                lambda path, model=model: use_compressed(path, model),
            )
        for name in ("train.txt", "train.suffixes", "train.places"):
            self.whole[f"index {name}"] = (
                folder / "char" / name,
                lambda path: use_index(path.parent),
            )
        self.whole["run"] = folder / "run" / "last.safetensors", lambda path: use_run(path.parent)

    def _model(self, level: str) -> Model:
        data = self.folder / level
        size = 270 if level == "bpe" else None
        corpus = prepare([self.folder / "text"], data, PrepConfig(level=level, vocab_size=size))
        network = Network(NetworkConfig(width=8, cell="gru"), corpus.tokenizer.vocabulary)
        weights = {name: w.numpy() for name, w in initial_weights(network, 1).items()}
        model = Model(network, weights, corpus.tokenizer, corpus_hash=corpus.hash)
        model_file.save(model, self.folder / f"{level}.model")
        logits, state = one_step(model)
        states.save(Place(logits, state), model, self.folder / f"{level}.state")
        data, _ = compress(model, io.BytesIO(TEXT[:100].encode()))
        (self.folder / f"{level}.clm").write_bytes(data)
        if level == "char":
            build(corpus.path)
            knobs = TrainingConfig(steps=3, seed=1, batch=2, context=8, device="cpu")
            small, out = NetworkConfig(width=8), self.folder / "run"
            begin.begin(corpus, out, small, knobs, Listener(), time.monotonic()).go()
        return model

    def use(self, kind: str, data: bytes) -> None:
        """Puts `data` in the place of the whole file of that kind, and uses it."""
        path, use = self.whole[kind]
        before = path.read_bytes()
        try:
            path.write_bytes(data)
            use(path)
        finally:
            path.write_bytes(before)

    def mutant(self, kind: str, rng: random.Random) -> bytes:
        """The file of that kind, changed somehow."""
        path, _ = self.whole[kind]
        data = path.read_bytes()
        crafted = {".json": craft_json, ".safetensors": craft_tensors, ".clm": sealed}
        crafted |= {".model": craft_tensors, ".state": craft_tensors}
        ways = [cut, flipped, overwritten, spliced]
        ways += [crafted[path.suffix]] * 4 if path.suffix in crafted else []
        return rng.choice(ways)(data, rng)


def one_step(model: Model) -> tuple[np.ndarray, Any]:
    """The logits and the state after one id."""
    engine = NumpyEngine(model.network, model.weights)
    return engine.step(np.array([model.network.start]), engine.initial_state(1))


def use_model(path: Path) -> None:
    """Loads a model, encodes a text and makes a step."""
    model = model_file.load(path)
    model.tokenizer.decode(model.tokenizer.encode(TEXT[:50], "replace"))
    if not model.network.config.bidirectional:
        one_step(model)


def use_corpus(path: Path) -> None:
    """Reads all of a corpus."""
    corpus = Corpus(path)
    for split in corpus.splits:
        corpus.tokenizer.decode(corpus.ids(split))
    corpus.tokenizer.encode(TEXT[:50], "replace")
    corpus.verify()


def use_index(path: Path) -> None:
    """Looks up a text that stands in the training text and one that does not."""
    index = Index.open(path)
    index.longest("the cat sat on a hat")


def use_compressed(path: Path, model: Model) -> None:
    """Decompresses."""
    with path.open("rb") as file:
        for _ in decompress(model, file, path.name):
            pass


def use_run(path: Path) -> None:
    """Goes on with a run, which has come to its end, as far as that is checked."""
    directory.check_directory(path, force=True)
    begin.resume(path, None, {"steps": 4}, Listener(), time.monotonic()).trainer.step(0.5)


def cut(data: bytes, rng: random.Random) -> bytes:
    """The beginning of it."""
    return data[: rng.randrange(len(data) + 1)]


def flipped(data: bytes, rng: random.Random) -> bytes:
    """A few bits flipped, most often near the beginning, where headers are."""
    found = bytearray(data)
    for _ in range(rng.choice((1, 1, 2, 8))):
        at = rng.randrange(rng.choice((min(16, len(data)), len(data))))
        found[at] ^= 1 << rng.randrange(8)
    return bytes(found)


def overwritten(data: bytes, rng: random.Random) -> bytes:
    """Some bytes in a row replaced."""
    at, size = rng.randrange(len(data)), rng.choice((1, 4, 8, 64))
    filler = rng.choice((b"\0", b"\xff", b"\x7f", b"[", b'"', b"9")) * size
    return data[:at] + filler + data[at + size :]


def spliced(data: bytes, rng: random.Random) -> bytes:
    """A piece of it again in another place, or left out."""
    begin, at = rng.randrange(len(data)), rng.randrange(len(data))
    end = begin + rng.randrange(64)
    return data[:at] + rng.choice((data[begin:end], b"")) + data[rng.choice((at, end)) :]


def craft_json(data: bytes, rng: random.Random) -> bytes:
    """One value of a JSON file changed, or a bomb in its place."""
    return crafted(json.loads(data), rng).encode("utf-8", "surrogatepass")


def craft_tensors(data: bytes, rng: random.Random) -> bytes:
    """A safetensors file with something changed in its header."""
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    about = header["__metadata__"]
    (key,) = about
    way = rng.randrange(4)
    if way == 0:
        return struct.pack("<Q", rng.choice((0, 1, 10**8, 2**31, 2**63, length + 1))) + data[8:]
    if way == 1:
        text = crafted({k: v for k, v in header.items() if k != "__metadata__"}, rng)
        with suppress(ValueError, RecursionError, TypeError):
            text = json.dumps({**json.loads(text), "__metadata__": about})
    else:
        inner = json.loads(about[key])
        if way == 2 and "tokenizer" in inner:
            inner["tokenizer"] = crafted(json.loads(inner["tokenizer"]), rng)
            about[key] = json.dumps(inner)
        else:
            about[key] = crafted(inner, rng)
        text = json.dumps(header)
    found = text.encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(found)) + found + data[8 + length :]


def crafted(value: Any, rng: random.Random) -> str:
    """The JSON with one value changed, a key gone, or replaced by what is deep or long."""
    if rng.random() < 0.05:
        deep = rng.choice((40, 900, 100_000))
        return rng.choice(("[" * deep + "]" * deep, '{"a":' * deep + "1" + "}" * deep, "9" * 5000))
    parent = value
    while True:
        key = rng.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
        inner = parent[key]
        if not isinstance(inner, dict | list) or not inner or rng.random() < 0.2:
            break
        parent = inner
    if isinstance(parent, dict) and rng.random() < 0.2:
        del parent[key]
    else:
        parent[key] = rng.choice(ODD)
    return json.dumps(value)


def sealed(data: bytes, rng: random.Random) -> bytes:
    """A compressed file with something changed and a checksum that fits."""
    body = rng.choice((flipped, overwritten, cut))(data[:-4], rng)
    return body + struct.pack("<I", zlib.crc32(body))


def harm(bench: Bench, kind: str, data: bytes) -> str | None:
    """What goes wrong when the file is used; None where that ends as it should."""
    began, said = time.process_time(), io.StringIO()
    try:
        # What a model's own numbers overflow to is no harm.
        with redirect_stderr(said), np.errstate(all="ignore"):
            bench.use(kind, data)
    except (CharlmError, OSError) as error:  # of which the command line makes one line
        if "\n" in str(error):
            return f"a message of several lines: {error}"
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        return traceback.format_exc()
    elapsed_s = time.process_time() - began
    return f"took {elapsed_s:.1f} s" if elapsed_s > LONGEST_S else None


def main(files: int, seed: int) -> int:
    """Prints how many files did no harm; the exit status is 1 where one did."""
    rng, found, began = random.Random(seed), Counter(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder))
        for number in range(files):
            kind = rng.choice(list(bench.whole))
            data = bench.mutant(kind, rng)
            trouble = harm(bench, kind, data)
            if trouble is not None:
                found[kind] += 1
                last = trouble.strip().splitlines()
                print(f"{kind}, file {number}: {' | '.join(last[-5:])[:500]}", file=sys.stderr)
    peak_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    how = f"model, run, state, corpus, index and compressed files; {time.monotonic() - began:.0f} s"
    figure("mutated files that did no harm", files - found.total(), "files", how=how)
    figure("that did", found.total(), "files", target="0", how=", ".join(found) or "none")
    figure("most memory", peak_bytes / 1e6, "MB", target="≤ 1000", how="of the whole process")
    return int(bool(found) or peak_bytes > LARGEST_BYTES)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--files", type=int, default=FILES, help="how many")
    parser.add_argument("--seed", type=int, default=0, help="of the changes")
    given = parser.parse_args()
    sys.exit(main(given.files, given.seed))

"""docs/formats.md says what is so: files are read here by what it says, without charlm."""

import hashlib
import json
import re
import struct
import zlib

import numpy as np
from support.paths import DOCS

PAGE = (DOCS / "formats.md").read_text(encoding="utf-8")


def keys(heading):
    """The keys in the tables of a part of the page."""
    part = PAGE.split(f"\n## {heading}")[1].split("\n## ")[0]
    rows = re.findall(r"^\| (`.*?) \|", part, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`([\w.]+)`", row)}


def header(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def test_a_model_and_its_hash_in_a_state(charlm, model, tmp_path):
    found, data = header(model / "model.safetensors")
    about = json.loads(found.pop("__metadata__")["charlm"])
    assert about.keys() <= keys("Model")
    assert about["format"] == 1
    assert ", ".join(f"`{name}`" for name in about["network"]) in PAGE
    V = len(json.loads(about["tokenizer"])["model"]["vocab"])
    assert found["embedding"]["shape"] == [V + 1, about["network"]["embedding"]]
    assert found["head.weight"]["shape"] == [V, about["network"]["width"]]

    digest = hashlib.sha256()
    tokenizer = hashlib.sha256(about["tokenizer"].encode()).hexdigest()
    assert about["network"].pop("members") == 1
    config = json.dumps(about["network"], sort_keys=True)
    digest.update(f"{config}\n{tokenizer}\n{about['records']}\n".encode())
    for name in sorted(found):
        assert found[name]["dtype"] == "F32"
        begin, end = found[name]["data_offsets"]
        digest.update(name.encode() + b"\n" + data[begin:end])
    state = tmp_path / "state"
    done = charlm("sample", model, "--save-state", state, "--prompt", "the", "--length", 3)
    assert done.returncode == 0, done.stderr.decode()
    tensors, _ = header(state)
    place = json.loads(tensors.pop("__metadata__")["charlm_state"])
    assert place["model"] == digest.hexdigest()
    assert tensors.keys() == {"logits", "0.0"}


def test_the_counts_of_a_model(mixed_model):
    found, _ = header(mixed_model / "model.safetensors")
    about = json.loads(found["__metadata__"]["charlm"])
    assert {"network_val_nats_per_char", "ngram_val_nats_per_char", "mixed_tokens"} <= set(
        about["history"]
    )
    order = found["ngram.discounts"]["shape"][0]
    tables = {name for name in found if name.startswith("ngram.")} - {"ngram.discounts"}
    kinds = ("keys", "begins", "symbols", "counts")
    assert tables == {f"ngram.{d}.{kind}" for d in range(order) for kind in kinds}
    assert all(found[name]["dtype"][0] == "U" for name in tables)
    mixer = {"mean", "scale", "w1", "b1", "w2", "b2"}
    halves = ("", "first_half.", "second_half.")
    assert {name for name in found if name.startswith("mixer.")} == {
        f"mixer.{half}{name}" for half in halves for name in mixer
    }


def test_a_corpus(corpus):
    about = json.loads((corpus / "corpus.json").read_text())
    assert about.keys() <= keys("Corpus")
    digest, tokens = hashlib.sha256(), []
    for split in ("train", "val", "test"):
        ids = np.fromfile(corpus / f"{split}.bin", dtype=about["dtype"])
        tokens.append(about["splits"][split]["tokens"])
        assert len(ids) == tokens[-1]
        assert ids.max() < about["vocabulary"]
        digest.update(ids.tobytes())
    digest.update(str(tokens).encode())
    tokenizer = hashlib.sha256((corpus / "tokenizer.json").read_bytes()).hexdigest()
    assert tokenizer == about["tokenizer_hash"]
    whole = f"{tokenizer} {digest.hexdigest()} {about['records']}"
    assert hashlib.sha256(whole.encode()).hexdigest() == about["hash"]


def test_a_compressed_file(charlm, model):
    text = b"the king shall have his own again."
    data = charlm("compress", model, stdin=text).stdout
    part = PAGE.split("\n## Compressed")[1]
    sizes = [int(size) for size in re.findall(r"^\| (\d+) \|", part, re.MULTILINE)]
    assert data[:8].hex(" ") in part
    assert data[8:10] == b"\1\0"
    begin = sum(sizes[:6])  # what stands before the length
    assert struct.unpack_from("<QI", data, begin) == (len(text), zlib.crc32(text))
    assert (len(data) - sum(sizes[:8]) - 4) % 4 == 0
    assert struct.unpack("<I", data[-4:])[0] == zlib.crc32(data[:-4])

"""A corpus that is replaced or written to while a run reads it: never another text's figure."""

import os

import pytest
from support.runs import run

from charlm import model_file
from charlm.config import PrepConfig
from charlm.corpus import Corpus, prepare
from charlm.errors import DataError
from charlm.training.standing import Listener
from charlm.training.validate import validate

TEXT = "the cat sat on the mat; the dog sat on the log.\n" * 40


def prepared(folder, text):
    folder.mkdir(exist_ok=True)
    (folder / "text").write_text(text)
    config = PrepConfig(val=0.2, test=0)
    return prepare([folder / "text"], folder / "corpus", config, force=True)


def at_update(number, do):
    """A listener that does something during that update."""
    seen = []

    def update(progress, tokens):
        seen.append(tokens)
        if len(seen) == number:
            do()

    return Listener(update=update)


def test_a_run_goes_on_with_the_corpus_it_began_with(tmp_path):
    data, same = prepared(tmp_path / "a", TEXT), prepared(tmp_path / "b", TEXT)
    reversed_text = "".join(TEXT.splitlines(keepends=True)).replace("cat", "tac")[::-1]
    swap = at_update(3, lambda: prepared(tmp_path / "a", reversed_text))
    one, _ = run(data, tmp_path / "run", listener=swap)
    assert Corpus(data.path).hash != same.hash
    expected = validate(one.network, one.trainer.average.weights, same)
    found = model_file.load(tmp_path / "run").history
    assert found["val_bits_per_char"] == pytest.approx(expected.bits_per_char, rel=1e-6)


@pytest.mark.parametrize("split", ["train", "val"])
def test_a_file_written_to_ends_the_run_before_it_tells_a_figure(tmp_path, split):
    data = prepared(tmp_path / "a", TEXT)
    path = data.path / f"{split}.bin"

    def overwrite():
        with path.open("r+b") as file:
            file.write(bytes(10))
        os.utime(path, ns=(1, 1))

    with pytest.raises(DataError, match=rf"{split}\.bin was written to while it was in use"):
        run(data, tmp_path / "run", listener=at_update(3, overwrite))
    assert not (tmp_path / "run" / "model.safetensors").exists()


def test_a_split_is_opened_once(tmp_path):
    data = prepared(tmp_path / "a", TEXT)
    before = data.ids("train").copy()
    prepared(tmp_path / "a", TEXT[::-1])
    assert (data.ids("train") == before).all()
    assert (Corpus(data.path).ids("train") != before).any()

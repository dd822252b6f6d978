"""One model in several threads, and its copies in this process and another: the same results."""

import copy
import multiprocessing
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from support.calls import CALLS, public

from charlm import Model, prepare, train

COPIES = {
    "pickled": lambda model: pickle.loads(pickle.dumps(model)),
    "deep copy": copy.deepcopy,
    "shallow copy": copy.copy,
}


@pytest.fixture
def folder(model, tmp_path):
    (tmp_path / "run").symlink_to(model)
    (tmp_path / "book.txt").write_text("the king shall have his own again.\n" * 60)
    return tmp_path


@pytest.fixture(scope="module")
def pairs(tmp_path_factory):
    """A run of byte pairs."""
    folder = tmp_path_factory.mktemp("pairs")
    (folder / "book.txt").write_text("the king shall have his own again, my lord.\n" * 60)
    prepare(folder / "book.txt", folder / "data", level="bpe", vocab_size=280)
    train(folder / "data", folder / "run", steps=20, width=16, batch=4, seed=1, device="cpu")
    return folder / "run"


@pytest.fixture
def hasty():
    """Threads take turns as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def test_the_calls_are_all_there_are():
    assert CALLS.keys() == public()


@pytest.mark.parametrize("call", CALLS)
def test_threads_share_a_model(call, model, folder, hasty):
    alone = CALLS[call](Model.load(model), folder)
    shared = Model.load(model)
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda _: CALLS[call](shared, folder), range(8)))
    assert all(one == alone for one in found)


def test_threads_share_a_model_in_calls_of_all_kinds(model, folder, hasty):
    alone = {call: CALLS[call](Model.load(model), folder) for call in CALLS}
    shared = Model.load(model)
    with ThreadPoolExecutor(6) as pool:
        found = list(pool.map(lambda call: (call, CALLS[call](shared, folder)), [*CALLS] * 3))
    assert all(one == alone[call] for call, one in found)


@pytest.mark.parametrize("kind", ["names_model", "both_sides_model", "pairs"])
def test_threads_share_a_model_of_any_kind(kind, request, hasty):
    run = request.getfixturevalue(kind)
    texts = ["anna", "the king", "again, my lord.", "gustav", "shall have his own"] * 4
    alone = [Model.load(run).score(text) for text in texts]
    shared = Model.load(run)
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(shared.score, texts)) == alone


def test_streams_of_one_model_take_turns(model):
    loaded = Model.load(model)
    texts = [loaded.sample(prompt, length=50, seed=1) for prompt in ("the ", "my ")]
    streams = [loaded.stream(prompt, length=50, seed=1) for prompt in ("the ", "my ")]
    taken = list(zip(*streams, strict=True))
    assert ["".join(pieces) for pieces in zip(*taken, strict=True)] == texts


@pytest.mark.parametrize("call", [call for call in CALLS if call.startswith("Model.")])
@pytest.mark.parametrize("way", COPIES)
def test_a_copy_does_what_the_model_does(call, way, model, folder):
    loaded = Model.load(model)
    expected = CALLS[call](loaded, folder)  # which has made all that it keeps
    copied = COPIES[way](loaded)
    assert CALLS[call](copied, folder) == expected
    assert CALLS[call](loaded, folder) == expected


@pytest.mark.parametrize("kind", ["names_model", "both_sides_model", "pairs"])
def test_a_copy_of_a_model_of_any_kind(kind, request):
    loaded = Model.load(request.getfixturevalue(kind))
    expected = loaded.score("anna")
    for way in COPIES.values():
        assert way(loaded).score("anna") == expected


def test_a_used_model_is_pickled_as_a_new_one(model):
    loaded = Model.load(model)
    size_bytes = len(pickle.dumps(loaded))
    loaded.sample("the ", length=5, seed=1)
    loaded.score("the ")
    assert len(pickle.dumps(loaded)) < size_bytes * 1.05


def test_another_process_computes_the_same(model):
    loaded, texts = Model.load(model), ["the king", "my lord", "again"]
    expected = [loaded.score(text) for text in texts]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(loaded.score, texts) == expected


def test_a_place_is_a_value(model):
    loaded = Model.load(model)
    place = loaded.state("the ")
    expected = loaded.sample("", state=place, length=30, seed=1)
    for copied in (pickle.loads(pickle.dumps(place)), copy.deepcopy(place)):
        assert loaded.sample("", state=copied, length=30, seed=1) == expected
        np.testing.assert_array_equal(copied.logits, place.logits)

"""Runs of several seeds in this process: each is the run of its seed alone; the best is kept."""

import math
import signal
import time

import numpy as np
import pytest

from charlm import model_file
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import prepare
from charlm.errors import ConfigError, DataError
from charlm.training import begin, checkpoint, directory, seeds
from charlm.training.seeds import Result, Spread
from charlm.training.standing import Listener

TEXT = "the cat sat on the mat; the dog sat on the log.\n" * 40
NETWORK = NetworkConfig(width=8)
TRAINING = TrainingConfig(steps=6, seed=3, batch=4, context=8, device="cpu")


class Nobody:
    """Watches, and says nothing; stops the run of the `stops`-th listener in its third update."""

    def __init__(self, stops=None):
        self.stops = stops
        self.runs = 0

    def listener(self):
        self.runs += 1
        updates = []

        def update(progress, tokens):
            updates.append(tokens)
            if self.runs == self.stops and len(updates) == 3:
                signal.raise_signal(signal.SIGTERM)

        return Listener(update=update)

    def begin(self, run):
        pass

    def end(self, run, outcome):
        pass


@pytest.fixture
def corpus(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    return prepare([tmp_path / "text"], tmp_path / "corpus", PrepConfig(val=0.2, test=0))


def go_all(out, watch):
    results = []
    for seed, run in directory.seeds(out).items():
        results.append(seeds.result_before(seed, run) or seeds.go(seed, run, None, {}, watch))
        seeds.keep_best(out, results)
    return results


def weights(run):
    return checkpoint.load(run / directory.LAST_NAME).tensors


def test_each_is_the_run_of_its_seed_alone(corpus, tmp_path):
    seeds.begin_all(corpus, tmp_path / "runs", NETWORK, TRAINING, 3, Listener())
    results = go_all(tmp_path / "runs", Nobody())
    assert [result.seed for result in results] == [3, 4, 5]
    for result in results:
        alone = begin.begin(
            corpus,
            tmp_path / "alone",
            NETWORK,
            TrainingConfig(**TRAINING.to_dict() | {"seed": result.seed}),
            Listener(),
            time.monotonic(),
        )
        outcome = alone.go()
        assert outcome.best_nats_per_char == result.nats_per_char
        one, other = weights(result.run), weights(tmp_path / "alone")
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[name], other[name]) for name in one)


def test_the_best_model_is_that_of_the_whole(corpus, tmp_path):
    seeds.begin_all(corpus, tmp_path / "runs", NETWORK, TRAINING, 3, Listener())
    results = go_all(tmp_path / "runs", Nobody())
    best = Spread.of(results).best
    assert best.nats_per_char == min(result.nats_per_char for result in results)
    kept = model_file.load(tmp_path / "runs")
    assert kept.hash == model_file.load(best.run).hash
    assert kept.training["seed"] == best.seed


def test_stopped_and_gone_on_with_equals_uninterrupted(corpus, tmp_path):
    for name in ("whole", "cut"):
        seeds.begin_all(corpus, tmp_path / name, NETWORK, TRAINING, 3, Listener())
    whole = go_all(tmp_path / "whole", Nobody())
    first, second = list(directory.seeds(tmp_path / "cut").items())[:2]
    seeds.go(*first, None, {}, Nobody())
    stopped = seeds.go(*second, None, {}, Nobody(stops=1))
    assert (stopped.signal, stopped.steps, stopped.ended) == (signal.SIGTERM, 3, False)
    cut = go_all(tmp_path / "cut", Nobody())
    assert [each.nats_per_char for each in cut] == [each.nats_per_char for each in whole]
    assert model_file.load(tmp_path / "cut").hash == model_file.load(tmp_path / "whole").hash


def test_what_is_stopped_first_can_be_sampled(corpus, tmp_path):
    seeds.begin_all(corpus, tmp_path / "runs", NETWORK, TRAINING, 2, Listener())
    seed, run = next(iter(directory.seeds(tmp_path / "runs").items()))
    seeds.keep_best(tmp_path / "runs", [seeds.go(seed, run, None, {}, Nobody(stops=1))])
    assert model_file.load(tmp_path / "runs").history["steps"] == 3


def test_a_new_run_takes_the_place_of_an_old_one(corpus, tmp_path):
    out = tmp_path / "run"

    def plain():
        begin.begin(corpus, out, NETWORK, TRAINING, Listener(), time.monotonic()).go()

    def several(count):
        seeds.begin_all(corpus, out, NETWORK, TRAINING, count, Listener())

    plain()
    several(3)
    assert sorted(path.name for path in out.iterdir()) == ["seed-3", "seed-4", "seed-5",
        "seeds.json"]  # fmt: skip
    several(2)
    assert sorted(path.name for path in out.iterdir()) == ["seed-3", "seed-4", "seeds.json"]
    plain()
    assert sorted(path.name for path in out.iterdir()) == ["last.safetensors", "log.jsonl",
        "model.safetensors"]  # fmt: skip


def test_an_old_run_stays_until_nothing_is_wrong_with_the_new_ones(corpus, tmp_path):
    seeds.begin_all(corpus, tmp_path / "run", NETWORK, TRAINING, 2, Listener())
    before = sorted((tmp_path / "run").rglob("*"))
    wrong = TrainingConfig(**TRAINING.to_dict() | {"precision": "tf32"})
    with pytest.raises(ConfigError):
        seeds.begin_all(corpus, tmp_path / "run", NETWORK, wrong, 3, Listener())
    assert sorted((tmp_path / "run").rglob("*")) == before


def test_there_must_be_something_to_tell_the_best_by(tmp_path):
    (tmp_path / "text").write_text(TEXT)
    corpus = prepare([tmp_path / "text"], tmp_path / "corpus", PrepConfig(val=0, test=0))
    with pytest.raises(DataError, match="--val"):
        seeds.begin_all(corpus, tmp_path / "run", NETWORK, TRAINING, 2, Listener())
    assert not (tmp_path / "run").exists()


def test_a_damaged_list_of_seeds_is_refused(tmp_path):
    for text in ("", "{}", '["../x"]', "[1, true]"):
        (tmp_path / "seeds.json").write_text(text)
        with pytest.raises(DataError, match="damaged"):
            directory.seeds(tmp_path)


def test_mean_and_standard_deviation_are_of_those_that_ended(tmp_path):
    results = [
        Result(1, tmp_path, 5, 2.0),
        Result(2, tmp_path, 5, 1.0),
        Result(3, tmp_path, error="the loss is nan"),
        Result(4, tmp_path, 5, 4.5),
        Result(5, tmp_path, 1, 0.5, signal=2),
    ]
    spread = Spread.of(results)
    assert spread.mean == pytest.approx(2.5)
    assert spread.deviation == pytest.approx(math.sqrt((0.25 + 2.25 + 4) / 2))
    assert spread.best.seed == 2
    assert Spread.of(results[:1]) == Spread(results[0], 2.0, None)
    assert Spread.of(results[2:3]) == Spread(None, None, None)

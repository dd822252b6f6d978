"""A sample's text as it grows: what stops it is no part of it, and what may yet stop it waits."""

import itertools

import pytest

from charlm.config import PrepConfig, SamplingConfig
from charlm.corpus import prepare
from charlm.sampling.text import Manner, Sample


def texts(*lengths):
    return ["".join(text) for n in lengths for text in itertools.product("ab", repeat=n)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("text")
    (folder / "text").write_text("ab" * 20)
    return prepare([folder / "text"], folder / "data", PrepConfig(val=0, test=0)).tokenizer


def waits(text, stops):
    """Whether all of `text` may be the beginning of a stop string."""
    return any(stop.startswith(text) for stop in stops)


@pytest.mark.parametrize(
    "stops", [*[(stop,) for stop in texts(1, 2, 3)], ("abab",), ("aab", "ba"), ("bb", "abba")]
)
def test_a_sample_is_what_comes_before_the_first_stop(tokenizer, stops):
    """However a stop overlaps itself and others; and all is given as soon as it is certain."""
    ids = dict(zip("ab", tokenizer.encode("ab"), strict=True))
    for whole in texts(7):
        given = []
        sample = Sample(tokenizer, Manner(SamplingConfig(), 0, stops=stops), given.append)
        for end in range(1, len(whole) + 1):
            going = sample.hear(ids[whole[end - 1]])
            read, found = whole[:end], "".join(given)
            assert going == (not any(stop in read for stop in stops))
            if not going:
                assert sample.stopped == "stop"
                assert found == read[: min(read.find(s) for s in stops if s in read)]
                break
            held = next(n for n in range(end + 1) if waits(read[n:], stops))
            assert found == read[:held]

"""The short form of bench/fuzzing.py: whatever a file holds, it is used or refused in one line."""

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.fuzzing import Bench, harm


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    return Bench(tmp_path_factory.mktemp("fuzzing"))


@pytest.mark.slow
@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(seed=st.integers(0, 2**32))
def test_a_mutated_file_does_no_harm(bench, seed):
    rng = random.Random(seed)
    kind = rng.choice(list(bench.whole))
    assert harm(bench, kind, bench.mutant(kind, rng)) is None

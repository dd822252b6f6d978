"""What is given wrongly is a CharlmError, one line, in the words of a program."""

import re
import typing
from collections.abc import Sequence
from dataclasses import fields

import numpy as np
import pytest

import charlm
from charlm import CharlmError, DataError, Model
from charlm.config import NetworkConfig, PrepConfig, SamplingConfig, TrainingConfig
from charlm.library.errors import as_arguments
from charlm.library.options import SampleOptions

LONG = "To be, or not to be, that is the question. " * 200
LONE = "a\ud800"


@pytest.fixture
def loaded(model):
    return Model.load(model)


@pytest.fixture
def folder(model, tmp_path, monkeypatch):
    """The current one, with a run, a text and a folder."""
    (tmp_path / "run").symlink_to(model)
    (tmp_path / "book.txt").write_text("the king shall have his own again.\n" * 60)
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


WRONG = {
    "a text that is no path": lambda model: charlm.prepare(LONG, "data"),
    "a long path": lambda model: Model.load(LONG),
    "a corpus that is no path": lambda model: charlm.train(LONG, "new", steps=1),
    "a long name to make": lambda model: charlm.train("book.txt", LONG, steps=1),
    "a path that is not Unicode": lambda model: charlm.prepare(LONE, "data"),
    "no such text": lambda model: charlm.prepare("nowhere.txt", "data"),
    "no such text among several": lambda model: charlm.prepare(["book.txt", "no.txt"], "data"),
    "a folder for a text": lambda model: charlm.prepare("folder", "data"),
    "no such corpus": lambda model: charlm.train("nowhere", "new", steps=1),
    "no such model": lambda model: Model.load("nowhere"),
    "no model to go on from": lambda model: charlm.train("book.txt", "new", init="no", steps=1),
    "a file on the way": lambda model: charlm.prepare("book.txt", "book.txt/data"),
    "what is there": lambda model: charlm.train("book.txt", "run", steps=1),
    "a lone surrogate to score": lambda model: model.score(LONE),
    "a lone surrogate to go on from": lambda model: model.sample(LONE),
    "a lone surrogate before what is next": lambda model: model.next(LONE),
    "a lone surrogate to read": lambda model: model.state(LONE),
    "lone surrogates to go on from": lambda model: model.samples(LONE, 2),
    "a lone surrogate that is not drawn": lambda model: model.sample(ban=LONE),
    "a lone surrogate to match": lambda model: model.sample(match=LONE),
    "an unknown symbol": lambda model: model.sample("é"),
    "an unknown policy": lambda model: model.sample("a", unknown="guess"),
    "an unknown policy to score by": lambda model: model.score("a", unknown="guess"),
    "a policy before what is next": lambda model: model.next("a", unknown="guess"),
    "stops that are no texts": lambda model: model.sample(stops=5),
    "a stop that is no text": lambda model: model.sample(stops=[5]),
    "bytes to ban": lambda model: model.sample(ban=b"e"),
    "lines that are no number": lambda model: model.sample(max_lines="3"),
    "no number of samples": lambda model: model.samples("a", "2"),
    "fewer than no samples": lambda model: model.samples("a", -1),
    "a length of text": lambda model: model.sample(length="5"),
    "half a character": lambda model: model.sample(length=np.float64(5.5)),
    "an option misspelled": lambda model: model.sample(temprature=1.0),
    "a cell misspelled": lambda model: charlm.train("book.txt", "new", cell="lstn", steps=1),
    "two lengths": lambda model: charlm.train("book.txt", "new", steps=1, epochs=1.0),
    "a device that is not there": lambda model: Model.load("run", device="no").sample(),
    "options that exclude each other": lambda model: charlm.prepare(
        "book.txt", "data", words="spaces"
    ),
    "another width": lambda model: charlm.train("book.txt", "new", init="run", width=9, steps=1),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_a_charlm_error(wrong, loaded, folder):
    before = {path.name for path in folder.iterdir()}
    with pytest.raises(CharlmError) as caught:
        WRONG[wrong](loaded)
    said = str(caught.value)
    assert re.search("(^|[^a-z`])--?[a-z]", re.sub("`[^`]*`", "", said)) is None
    assert "\n" not in said
    assert len(said) < 400
    assert {path.name for path in folder.iterdir()} == before


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda model: model.sample("é"), 'unknown="skip"'),
        (lambda model: model.score(LONE), "a lone surrogate U+D800 at position 1"),
        (lambda model: charlm.prepare("nowhere.txt", "data"), "nowhere.txt: No such file"),
        (lambda model: charlm.prepare(LONG, "data"), "too long for a path"),
        (lambda model: charlm.train("book.txt", "run", steps=1), "force=True"),
        (lambda model: charlm.prepare("book.txt", "data", words="spaces"), 'level="word"'),
        (lambda model: model.sample(temprature=1.0), "Did you mean temperature?"),
        (lambda model: model.sample("a", unknown="guess"), "error, skip, replace, nearest"),
    ],
)
def test_the_message_says_what_to_do(call, words, loaded, folder):
    with pytest.raises(CharlmError, match=re.escape(words)):
        call(loaded)


def test_the_command_line_speaks_of_its_own_options(charlm, model):
    for arguments in (["next", model, "-p", "é"], ["sample", model, "-p", "é"]):
        assert b"--unknown skip" in charlm(*arguments).stderr


@pytest.mark.parametrize(
    ("typed", "given"),
    [
        ("with --unknown skip, or", 'with unknown="skip", or'),
        ("with --unknown replace or nearest.", 'with unknown="replace" or nearest.'),
        ("leave --device out", "leave device out"),
        ("use --device auto or --device cpu.", 'use device="auto" or device="cpu".'),
        ("replace it with --force.", "replace it with force=True."),
        ("--no-residual is for", "residual=False is for"),
        ("--vocab-size 30 and --min-count 2", "vocab_size=30 and min_count=2"),
        ("Lower --batch, --context or --width.", "Lower batch, context or width."),
        ("a lower --lr (it was 0.1)", "a lower lr (it was 0.1)"),
        ("-o names a directory", "out names a directory"),
        (
            "`charlm train CORPUS -o RUN --force` makes",
            "`charlm train CORPUS -o RUN --force` makes",
        ),
        ("well-off --strange x", "well-off --strange x"),
    ],
)
def test_options_become_arguments(typed, given):
    assert as_arguments(typed) == given
    assert as_arguments(given) == given


@pytest.mark.parametrize("error", [OSError(2, "mine", "mine.txt"), DataError("--force is mine")])
def test_what_a_programs_own_function_raises_comes_as_it_is(error, folder):
    def fail(*given):
        raise error

    settings = {"steps": 2, "width": 8, "device": "cpu"}
    for call in (
        lambda: charlm.prepare("book.txt", "data", progress=fail),
        lambda: charlm.train("book.txt", "new", progress=fail, **settings),
        lambda: charlm.train("book.txt", "other", say=fail, **settings),
    ):
        with pytest.raises(type(error)) as caught:
            call()
        assert caught.value is error
        assert "mine" in str(error)
        assert "force=True" not in str(error)


SEVERAL = [
    name
    for name, hint in typing.get_type_hints(SampleOptions).items()
    if any(typing.get_origin(kind) is Sequence for kind in typing.get_args(hint))
]


def test_the_arguments_of_several_texts_are_these():
    assert SEVERAL == ["stops", "ban", "allow"]


@pytest.mark.parametrize("name", SEVERAL)
@pytest.mark.parametrize("text", ["the", "e", " is"])
def test_one_text_is_one_text(name, text, loaded):
    for seed in range(3):
        single, listed = (
            loaded.sample("what", length=150, seed=seed, **{name: texts})
            for texts in (text, [text])
        )
        assert single == listed


def test_a_stop_text_is_not_its_letters(loaded):
    """Without it the sample goes on; with it, it ends before the first such text."""
    whole = loaded.sample("what", length=150, seed=1)
    assert "the" in whole
    assert loaded.sample("what", length=150, seed=1, stops="the") == whole[: whole.index("the")]


def test_texts_that_come_one_by_one_are_all_taken(loaded):
    whole = loaded.sample("what", length=150, seed=1)
    stops = (text for text in ["the"])
    assert loaded.sample("what", length=150, seed=1, stops=stops) == whole[: whole.index("the")]


def test_one_path_is_one_source(folder):
    one = charlm.prepare("book.txt", "data")
    several = charlm.prepare(["book.txt"], "more")
    assert one.about["sources"] == several.about["sources"]


@pytest.mark.parametrize(
    "number",
    [np.int64, np.int32, np.uint8, lambda n: np.array(n)],
    ids=["int64", "int32", "uint8", "array"],
)
def test_numpys_numbers_are_numbers(number, loaded, folder):
    expected = loaded.samples("a", 2, length=5, temperature=0.5, greedy=False, seed=1)
    options = {"length": number(5), "temperature": np.float32(0.5), "greedy": np.bool_(False)}
    assert loaded.samples("a", number(2), seed=number(1), **options) == expected
    assert loaded.sample("a", max_lines=number(1), length=9, seed=1) == loaded.sample(
        "a", max_lines=1, length=9, seed=1
    )
    trained = charlm.train(
        "book.txt", "new", steps=number(2), width=number(8), lr=np.float64(0.01), device="cpu"
    )
    assert trained.contents.network.config.width == 8
    assert type(trained.contents.training["steps"]) is int


@pytest.mark.parametrize("group", [PrepConfig, NetworkConfig, TrainingConfig, SamplingConfig])
def test_every_option_takes_numpys_kind_of_its_default(group):
    kinds = {bool: np.bool_, int: np.int64, float: np.float64, str: np.str_}
    defaults = {f.name: f.default for f in fields(group) if f.default is not None}
    given = {name: kinds[type(value)](value) for name, value in defaults.items()}
    assert group.from_dict(given) == group.from_dict(defaults)
    assert all(type(getattr(group.from_dict(given), n)) is type(v) for n, v in defaults.items())


def test_scores_are_summed(loaded):
    scores = [loaded.score(text) for text in ("the king", "my lord", "again")]
    total = sum(scores)
    assert total == scores[0] + scores[1] + scores[2]
    assert (total.chars, total.nats) == (23, pytest.approx(sum(s.nats for s in scores)))
    with pytest.raises(TypeError):
        scores[0] + 1
    with pytest.raises(TypeError):
        1 + scores[0]

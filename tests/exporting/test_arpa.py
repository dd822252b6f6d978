"""An ARPA file says what the counts say, to KenLM and to any reader of the back-off rule."""

import importlib.util
import io
import json
import math
import re
import string
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.paths import DOCS

from charlm import model_file
from charlm.errors import ConfigError
from charlm.exporting import arpa
from charlm.model_file import Model
from charlm.ngram import count, histories
from charlm.tokenizer import Tokenizer, forms

needs_kenlm = pytest.mark.skipif(
    importlib.util.find_spec("kenlm") is None, reason="kenlm is not installed"
)
ODD = ["naïve\u00a0é", "<s>", "</s>", "<unk>", "<UNK>", "<0x41>", "a\\b", "\\end\\", "日本\u2028"]
random = np.random.default_rng(0)
LETTERS = string.ascii_uppercase + string.ascii_lowercase  # by code point
PLAIN = {"normalize": "none"}
WORDS = ["the", "king", "shall", "have", "his", "own", "again", "lord", *ODD]
LINES = [" ".join(random.choice(WORDS, random.geometric(0.2))) for _ in range(400)]
UNSEEN = [" ".join(random.choice(WORDS, 9)) for _ in range(20)]


def tokenizers():
    """A tokenizer of each level, for running text and for records."""
    text = "\n".join(LINES)
    for boundary in (False, True):
        name = "records" if boundary else "text"
        common = {"boundary": boundary, **PLAIN}
        yield f"char {name}", forms.char_form(set(text) - {"k"}, unknown=True, **common)
        yield f"byte {name}", forms.byte_form(boundary=boundary)
        yield f"bpe {name}", forms.pair_form([text], size=300, min_count=2, **common)
        some = [word for word in WORDS if word not in ("king", "<unk>")]
        spaced = [*(f" {word}" for word in some if not re.search(r"\s", word)), "\n"]
        yield f"spaces {name}", forms.word_form(spaced, words="spaces", **common)
        yield f"word {name}", forms.word_form([*some, *(f" {word}" for word in some)], **common)


KINDS = {name: Tokenizer.from_json(form) for name, form in tokenizers()}
every_kind = pytest.mark.parametrize("kind", KINDS)


def read(tokenizer, lines):
    """The ids (T,) of lines, and what is read before the first."""
    if tokenizer.boundary is None:
        opening = [] if tokenizer.newline is None else [tokenizer.newline]
        return tokenizer.encode("\n".join(lines), unknown="replace"), opening
    ids = [[*tokenizer.encode(line, unknown="replace"), tokenizer.boundary] for line in lines]
    return np.concatenate(ids).astype(np.int64), []


def counted(kind, order):
    """A model with the counts of LINES and no network, and its n-gram model."""
    tokenizer = KINDS[kind]
    ids, opening = read(tokenizer, LINES)
    ngram = count(
        ids, tokenizer.vocabulary, order=order, boundary=tokenizer.boundary, opening=opening
    )
    return Model(None, {}, tokenizer, ngram=ngram), ngram


def written(model):
    stream = io.BytesIO()
    arpa.write(model, stream)
    return stream.getvalue().decode("utf-8")


def of_letters(ngram):
    """The file of counts over ids that are called A, B, C, ..."""
    form = forms.char_form(LETTERS[: ngram.vocabulary], boundary=False, unknown=False, **PLAIN)
    return written(Model(None, {}, Tokenizer.from_json(form), ngram=ngram))


def of_text(kind, ngram, lines):
    """The ids (T,) of lines, and log10 p (T,) of each by the counts."""
    tokenizer = KINDS[kind]
    ids, opening = read(tokenizer, lines)
    before = histories(ids, tokenizer.vocabulary, ngram.order, tokenizer.boundary, opening)
    return ids, np.log10(ngram.estimate(before).p[np.arange(len(ids)), -1, ids])


class Naive:
    """A reader that splits at whitespace and knows the back-off rule; it holds the file to both."""

    def __init__(self, text):
        assert text.endswith("\n\n\\end\\\n")
        header, *sections = text.removesuffix("\n\\end\\\n").split("\n\n")
        assert header.startswith("\\data\\\n")
        self.sizes = [int(line.split("=")[1]) for line in header.split("\n")[1:]]
        self.logs, self.weights = {}, {}
        for length, section in enumerate(sections, 1):
            title, *lines = section.removesuffix("\n").split("\n")
            assert title == f"\\{length}-grams:"
            assert f"ngram {length}={len(lines)}" in header.split("\n")
            for line in lines:
                log, *gram = line.split()
                assert line.count("\t") == (1 if length == len(sections) else 2)
                if length < len(sections):
                    *gram, weight = gram
                    self.weights[tuple(gram)] = float(weight)
                assert len(gram) == length
                assert tuple(gram) not in self.logs
                self.logs[tuple(gram)] = float(log)
        self.vocabulary = [gram[0] for gram in self.logs if len(gram) == 1]

    def log10(self, context, word):
        gram = (*context, word)
        if gram in self.logs or not context:
            return self.logs[gram]
        return self.weights.get(tuple(context), 0.0) + self.log10(context[1:], word)


def test_a_file_worked_out_by_hand():
    """Of the records "a b", "a c" and "a b", up to two words.

    The counts are c(<s> a) = 3, c(a b) = 2, c(a c) = 1, c(b </s>) = 2, c(c </s>) = 1. No pair came
    four times, so the discounts are KenLM's for such a text: D1 = 0.5, D2 = 1, D3 = 1.5.

    A word alone counts as often as another one was before it (Kneser-Ney): a, b, c once, and </s>
    twice, 5 in all. 3 D1 + D2 = 2.5 of these are left to the five words alike, a tenth each:
        p(a) = p(b) = p(c) = (1 - 0.5) / 5 + 0.1 = 0.2, p(</s>) = (2 - 1) / 5 + 0.1 = 0.3,
        p(<unk>) = 0.1
    After <s> came a, 3 times; D3 / 3 = 0.5 is left:  p(a | <s>) = 1.5 / 3 + 0.5 * 0.2 = 0.6
    After a, 3 in all, D2 + D1 = 1.5 and so 0.5 left: p(b | a) = (2 - 1) / 3 + 0.5 * 0.2 = 0.4333333
                                                      p(c | a) = 0.5 / 3 + 0.5 * 0.2 = 0.2666667
    After b, 2 in all, D2 = 1 and so 0.5 left:        p(</s> | b) = (2 - 1) / 2 + 0.5 * 0.3 = 0.65
    After c, 1 in all, D1 = 0.5 left:                 p(</s> | c) = 0.5 + 0.5 * 0.3 = 0.65
    """
    ids = np.array([2, 3, 0, 2, 4, 0, 2, 3, 0])
    ngram = count(ids, 5, order=2, boundary=0)
    lines = {
        "\\data\\", "ngram 1=6", "ngram 2=5", "\\1-grams:", "\\2-grams:", "\\end\\", "",
        "-0.69897\ta\t-0.30103", "-0.69897\tb\t-0.30103", "-0.69897\tc\t-0.30103",
        "-0.5228787\t</s>\t0", "-1\t<unk>\t0", "-99\t<s>\t-0.30103",
        "-0.2218487\t<s> a", "-0.3631779\ta b", "-0.5740313\ta c",
        "-0.1870866\tb </s>", "-0.1870866\tc </s>",
    }  # fmt: skip
    form = forms.char_form("abc", boundary=True, unknown=True, **PLAIN)
    found = written(Model(None, {}, Tokenizer.from_json(form), ngram=ngram))
    assert set(found.split("\n")) == lines
    assert len(found.split("\n")) == len(lines) + 3  # four blank ones, counting what follows \end\


def test_discounts_worked_out_by_hand():
    """Of 12 letters 5 came once, 3 twice, 2 three times, 1 four times, and 1 nine times.

    Y = n1 / (n1 + 2 n2) = 5 / 11, D1 = 1 - 2 Y n2 / n1 = 5 / 11, D2 = 2 - 3 Y n3 / n2 = 12 / 11,
    D3 = 3 - 4 Y n4 / n3 = 23 / 11. Of 30 letters 5 D1 + 3 D2 + 4 D3 = 153 / 11 are left, to all 12
    alike: 153 / 3960 each. (Chen and Goodman 1998, eq. 26 and 27.)
    """
    times = [1] * 5 + [2] * 3 + [3] * 2 + [4, 9]
    ngram = count(np.repeat(np.arange(12), times), 12, order=1)
    found = Naive(of_letters(ngram))
    rest = 153 / 3960
    for letter, c, taken in (("A", 1, 5), ("F", 2, 12), ("I", 3, 23), ("K", 4, 23), ("L", 9, 23)):
        expected = math.log10((c - taken / 11) / 30 + rest)
        assert found.logs[(letter,)] == pytest.approx(expected, abs=1e-6)


@every_kind
@pytest.mark.parametrize("order", [1, 2, 4])
def test_read_back_all_words_sum_to_1_and_are_the_counts_own(kind, order):
    """After contexts that were seen, that were not, and that were in part."""
    model, ngram = counted(kind, order)
    found, names = Naive(written(model)), arpa.words(model.tokenizer)
    assert sorted(found.vocabulary) == sorted(names)
    assert {"<s>", "</s>", "<unk>"} <= set(names)
    for gram in found.logs:
        assert len(gram) == 1 or (gram[1:] in found.logs and gram[:-1] in found.weights)
    V = model.tokenizer.vocabulary
    ids, opening = read(model.tokenizer, [*LINES[:3], *UNSEEN])
    before = histories(ids, V, order, model.tokenizer.boundary, opening)
    before = before[random.choice(len(before), 12, replace=False)]
    expected = ngram.estimate(before).p[:, -1]
    for row, own in zip(before, expected, strict=True):
        context = [names[id] for id in row[::-1] if id >= 0]
        logs = np.array([found.log10(context, word) for word in names])
        assert (10**logs).sum() == pytest.approx(1, abs=1e-5)
        np.testing.assert_allclose(logs[:V], np.log10(own), atol=2e-6)


@needs_kenlm
@every_kind
@pytest.mark.parametrize("order", [2, 3, 5, 6])
def test_kenlm_scores_what_the_counts_expect(kind, order, tmp_path):
    """Each token of texts that were counted and of others; and the perplexity of these."""
    import kenlm

    model, ngram = counted(kind, order)
    (tmp_path / "model.arpa").write_text(written(model), encoding="utf-8")
    reader, names = kenlm.Model(str(tmp_path / "model.arpa")), arpa.words(model.tokenizer)
    assert reader.order == order
    records = model.tokenizer.boundary is not None
    for text in ([line] for line in [*LINES[:20], *UNSEEN]) if records else (LINES[:20], UNSEEN):
        ids, expected = of_text(kind, ngram, text)
        _, opening = read(model.tokenizer, text)
        read_ids = [*opening, *(ids[:-1] if records else ids)]
        sentence = " ".join(names[id] for id in read_ids)
        scores = [one[0] for one in reader.full_scores(sentence, eos=records)]
        np.testing.assert_allclose(scores[len(opening) :], expected, rtol=1e-5, atol=1e-5)
        if records:
            assert reader.perplexity(sentence) == pytest.approx(10 ** -expected.mean(), rel=1e-4)


def test_how_many_are_written_at_once_changes_nothing(monkeypatch):
    model, _ = counted("char text", 4)
    whole = written(model)
    monkeypatch.setattr(arpa, "AT_ONCE", 7)
    assert written(model) == whole


@pytest.mark.parametrize("opening", [(), (3,), (3, 4), (3, 4, 5, 3)])
@pytest.mark.parametrize("text", [[0], [0, 1], [3, 4, 5], [0, 0, 1, 0, 2, 1, 0, 0, 1, 3]])
def test_a_short_text_and_what_is_read_before_it(text, opening, tmp_path):
    """No n-gram's first words are lacking, and the highest order is one of which there is one."""
    ngram = count(np.array(text), 6, order=5, opening=opening)
    names = [*LETTERS[:6], "<s>"]
    found = Naive(of_letters(ngram))
    assert all(found.sizes)
    assert all(gram[:-1] in found.weights for gram in found.logs if len(gram) > 1)
    assert all(gram[1:] in found.logs for gram in found.logs if len(gram) > 1)
    before = histories(np.array(text), 6, 5, None, opening)
    for row, own in zip(before, ngram.estimate(before).p[:, -1], strict=True):
        context = [names[id] for id in row[::-1] if id >= 0]
        logs = [found.log10(context, word) for word in names[:6]]
        np.testing.assert_allclose(logs, np.log10(own), atol=2e-6)


def test_counts_without_their_rarest_contexts():
    """As those of an order that nobody asked for may be."""
    noise = np.random.default_rng(1).integers(0, 40, 30_000)
    ngram = count(noise, 40)
    assert sum(ngram.ngrams) < sum(count(noise, 40, order=7).ngrams)
    found = Naive(of_letters(ngram))
    before = histories(noise, 40, 7)[100:130]
    for row, own in zip(before, ngram.estimate(before).p[:, -1], strict=True):
        logs = [found.log10([LETTERS[id] for id in row[::-1]], word) for word in LETTERS[:40]]
        np.testing.assert_allclose(logs, np.log10(own), atol=2e-6)


@given(st.binary(min_size=1) | st.text(min_size=1).map(lambda text: text.encode("utf-8")))
def test_a_word_is_any_bytes_and_makes_them_again(piece):
    word = arpa.escaped(piece)
    assert word.split() == [word]
    assert not re.search(r"[\x00-\x20\x7f-\x9f]", word)
    assert word.casefold() not in ("<s>", "</s>", "<unk>")
    back = re.sub(rb"<0x([0-9A-F]{2})>", lambda m: bytes([int(m[1], 16)]), word.encode("utf-8"))
    assert back == piece


@pytest.mark.parametrize(
    ("piece", "word"),
    [
        ("king", "king"), (" king", "<0x20>king"), ("\n", "<0x0A>"), ("é", "é"), ("<", "<"),
        ("\u00a0", "<0xC2><0xA0>"), ("<s>", "<0x3C>s>"), ("<UNK>", "<0x3C>UNK>"), ("\\", "\\"),
        ("<0x41>", "<0x3C>0x41>"), (b"\xc3", "<0xC3>"), ("<s>x", "<s>x"),
    ],
)  # fmt: skip
def test_words(piece, word):
    assert arpa.escaped(piece if isinstance(piece, bytes) else piece.encode("utf-8")) == word


def test_what_the_words_are():
    spaces = forms.word_form(["the", "<s>", "\n"], boundary=True, normalize="none", words="spaces")
    words = arpa.words(Tokenizer.from_json(spaces))
    assert words == ["</s>", "<unk>", "the", "<0x3C>s>", "<0x0A>", "<s>"]
    chars = forms.char_form("a b", boundary=False, unknown=False, **PLAIN)
    assert arpa.words(Tokenizer.from_json(chars)) == ["<0x20>", "a", "b", "<s>", "</s>", "<unk>"]


def test_tokens_of_the_same_bytes_are_refused():
    stored = json.loads(forms.byte_form(boundary=False))
    stored["added_tokens"] = [{"id": 256, "content": "\n", "special": True}]
    model = Model(
        None, {}, Tokenizer.from_json(json.dumps(stored)), ngram=counted("byte text", 1)[1]
    )
    with pytest.raises(ConfigError, match="has <0x0A> twice"):
        written(model)


def test_the_command(charlm, model, mixed_model, tmp_path):
    def run(*args):
        done = charlm("export", *args, cwd=tmp_path)
        return done.returncode, done.stdout.decode(), done.stderr.decode().splitlines()

    code, out, said = run(mixed_model, "--to", "arpa", "-o", "model.arpa")
    assert (code, out, len(said)) == (0, "", 1)
    assert "up to order 3 -> model.arpa" in said[0]
    text = (tmp_path / "model.arpa").read_text(encoding="utf-8")
    assert text == written(model_file.load(mixed_model))
    assert run(mixed_model, "--to", "arpa", "-o", "-")[:2] == (0, text)
    code, _, said = run(mixed_model, "--to", "arpa", "-o", "model.arpa")
    assert code == 1
    assert "exists already" in said[0]
    assert run(mixed_model, "--to", "arpa", "-o", "model.arpa", "--force")[0] == 0
    code, out, said = run(model, "--to", "arpa", "-o", "none.arpa")
    assert (code, out, len(said)) == (1, "", 1)
    assert "train one with --ngram" in said[0]
    assert [path.name for path in tmp_path.iterdir()] == ["model.arpa"]


@pytest.fixture(scope="module")
def records_model(charlm, tmp_path_factory):
    """The run of a corpus of words whose records are lines, with counts."""
    folder = tmp_path_factory.mktemp("records")
    lines = [" ".join(random.choice(WORDS[:8], random.geometric(0.2))) for _ in range(400)]
    (folder / "text").write_text("\n".join(lines) + "\n")
    words = ("--level", "word", "--records", "line")
    done = charlm("prep", folder / "text", "-o", folder / "data", *words)
    assert done.returncode == 0, done.stderr.decode()
    small = ("--steps", 20, "--width", 16, "--batch", 4, "--seed", 1, "--device", "cpu")
    done = charlm("train", folder / "data", "-o", folder / "run", "--ngram", 7, *small)
    assert done.returncode == 0, done.stderr.decode()
    return folder / "run"


def test_an_order_beyond_kenlms_is_said(charlm, records_model):
    done = charlm("export", records_model, "--to", "arpa", "-o", "-")
    assert done.returncode == 0
    assert "KENLM_MAX_ORDER=7" in done.stderr.decode().splitlines()[1]


def test_lines_cost_what_eval_says_of_the_counts(charlm, records_model, tmp_path):
    """In nats per character, by the naive reader, which knows lines and words alone."""
    text = "the king shall have\nhis own again\nking my lord lord\n"
    (tmp_path / "text").write_text(text)
    done = charlm("eval", records_model, tmp_path / "text", "--parts", "--json")
    found = Naive(charlm("export", records_model, "--to", "arpa", "-o", "-").stdout.decode())
    nats = 0.0
    for line in text.splitlines():
        words = line.replace(" ", " <0x20>").split()
        words = [word if word in found.vocabulary else "<unk>" for word in words]
        for at, word in enumerate([*words, "</s>"]):
            nats -= found.log10(["<s>", *words][max(0, at - 5) : at + 1], word) * math.log(10)
    expected = json.loads(done.stdout)["parts"]["ngram"]["nats_per_char"]
    assert nats / len(text) == pytest.approx(expected, rel=1e-4)


PAGE = (DOCS / "how-to" / "export.md").read_text(encoding="utf-8").split("## Its counts, for")[1]
PROGRAM = re.search(r"^```python\n(.*?)^```", PAGE, re.M | re.S)[1]


@needs_kenlm
def test_the_program_of_the_page_prints_what_the_counts_expect(charlm, mixed_model, tmp_path):
    assert charlm("export", mixed_model, "--to", "arpa", "-o", "model.arpa", cwd=tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", "import sys\nsys.modules['charlm'] = None\n" + PROGRAM],
        cwd=tmp_path, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    loaded = model_file.load(mixed_model)
    text = re.search(r'"(the king .*?)\\n"', PROGRAM)[1] + "\n"
    ids, opening = loaded.tokenizer.encode(text), [loaded.tokenizer.newline]
    before = histories(ids, loaded.tokenizer.vocabulary, loaded.ngram.order, None, opening)
    p = loaded.ngram.estimate(before).p[np.arange(len(ids)), -1, ids]
    assert float(done.stdout) == pytest.approx(np.log10(p).sum(), rel=1e-4)

"""The counts of a model as an ARPA file, the back-off form that KenLM, SRILM and others read.

    p(w | context) = 10^(the n-gram's log)                            where it is in the file
                   = 10^(the context's weight) p(w | shorter context) where it is not

An interpolated model is one of this form: the logs are those of what all orders expect together,
and a context's weight is that of what it leaves to the shorter one. So the file says what
`Ngram.estimate` says, to the digits written, as KenLM's lmplz writes its own models.

Source: the SRI language modeling toolkit, ngram-format(5); Heafield 2011, "KenLM: faster and
smaller language model queries".
"""

import re
from collections import Counter
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from charlm.errors import ConfigError
from charlm.model_file import Model
from charlm.ngram import Ngram
from charlm.ngram.listing import contexts, entries, holds, shortened
from charlm.ngram.model import ABSENT
from charlm.tokenizer import Tokenizer

BEGIN, END, UNKNOWN = "<s>", "</s>", "<unk>"
NEVER = -99.0  # the log of a word that is only ever read, or never comes
AT_ONCE = 1 << 14  # n-grams
# What no word has in it: space of any kind, control characters, bytes that are no UTF-8; and a <
# that would begin what is written for these, or one of the three words above.
_ESCAPED = re.compile(
    r"[\s\x00-\x1f\x7f-\x9f\udc80-\udcff]|<(?=0x[0-9A-F]{2}>)|\A<(?=(?:s|/s|unk)>\Z)", re.IGNORECASE
)


def write(model: Model, stream: BinaryIO) -> int:
    """The order of the file, once the model's counts are written to `stream`, some at a time.

    It is the highest of which there is an n-gram. Raises ConfigError for a model without counts,
    or with different tokens of the same bytes.
    """
    if model.ngram is None:
        raise ConfigError(
            "the model has no counts, which are what ARPA files hold; train one with --ngram."
        )
    ngram = shortened(model.ngram)
    for piece in _pieces(ngram, words(model.tokenizer)):
        stream.write(piece.encode("utf-8"))
    return ngram.order


def words(tokenizer: Tokenizer) -> list[str]:
    """What each id is called in the file, and after these the three words that no text spells.

    A token is itself, but that each byte of what no word may have in it is written <0xHH>. A word
    between spaces goes without the space that is before each. Raises ConfigError where two tokens
    stand for the same bytes.
    """
    begin = len(" ") if tokenizer.pattern == "spaces" else 0
    found = [escaped(piece[begin:]) for piece in tokenizer.pieces]
    for id, special in ((tokenizer.boundary, END), (tokenizer.unknown, UNKNOWN)):
        if id is not None:
            found[id] = special
    if len(set(found)) < len(found):
        twice, _ = Counter(found).most_common(1)[0]
        raise ConfigError(f"the vocabulary has {twice} twice, and no ARPA file can.")
    return [*found, BEGIN, *(special for special in (END, UNKNOWN) if special not in found)]


def escaped(piece: bytes) -> str:
    """The bytes as a word; `re.sub` of <0xHH> by the byte makes them again."""

    def in_bytes(match: re.Match[str]) -> str:
        return "".join(f"<0x{byte:02X}>" for byte in match[0].encode("utf-8", "surrogateescape"))

    return _ESCAPED.sub(in_bytes, piece.decode("utf-8", "surrogateescape"))


def _pieces(ngram: Ngram, words: list[str]) -> Iterator[str]:
    """The text of the file; `words` are as above, the first of the three that of id V."""
    lacking = _lacking(ngram)
    sizes = [n + len(rows) for n, rows in zip(ngram.ngrams, lacking, strict=True)]
    sizes[0] = len(words)
    yield "\\data\\\n"
    yield from (f"ngram {length}={size}\n" for length, size in enumerate(sizes, 1))
    named = np.array(words, object)
    for length in range(1, ngram.order + 1):
        yield f"\n\\{length}-grams:\n"
        if length == 1:
            yield from _unigrams(ngram, named)
            continue
        for history, ids in entries(ngram, length - 1, AT_ONCE):
            yield _lines(ngram, named, length, history, ids)
        if len(lacking[length - 1]):
            yield _lines(ngram, named, length, *_split(lacking[length - 1]))
    yield "\n\\end\\\n"


def _unigrams(ngram: Ngram, named: np.ndarray) -> Iterator[str]:
    V = ngram.vocabulary
    for first in range(0, V + 1, AT_ONCE):
        ids = np.arange(first, min(first + AT_ONCE, V + 1))
        yield _lines(ngram, named, 1, ngram.initial_history(len(ids)), ids)
    backoff = "\t0" if ngram.order > 1 else ""
    yield from (f"{NEVER:.7g}\t{word}{backoff}\n" for word in named[V + 1 :])


def _lines(
    ngram: Ngram,
    named: np.ndarray,
    length: int,
    history: np.ndarray,
    ids: np.ndarray,
) -> str:
    """The lines of n-grams of a length: ids (N,), each after the first of its history (N, D)."""
    logs = _log10(ngram.estimate_of(history, ids).p[:, length - 1, 0])
    logs = np.where(ids == ngram.vocabulary, NEVER, logs).tolist()
    grams = named[np.column_stack([history[:, : length - 1][:, ::-1], ids])].tolist()
    texts = map(" ".join, grams)
    if length == ngram.order:
        return "".join([f"{p:.7g}\t{text}\n" for p, text in zip(logs, texts, strict=True)])
    after = ngram.estimate_of(ngram.advanced(history, ids), np.zeros_like(ids))
    weights = _log10(after.known[:, 2 * length - 1]).tolist()
    rows = zip(logs, texts, weights, strict=True)
    return "".join([f"{p:.7g}\t{text}\t{weight:.7g}\n" for p, text, weight in rows])


def _log10(p: np.ndarray) -> np.ndarray:
    """The logs, none above 0 or below NEVER."""
    return np.log10(np.clip(p, 10.0**NEVER, 1.0))


def _lacking(ngram: Ngram) -> list[np.ndarray]:
    """By length less one, the contexts (N, D) that were read only and never came after another.

    Those are what stands before a text. A file has them too, as each of its n-grams needs its
    first tokens to be another.
    """
    found = [ngram.initial_history(0) for _ in range(ngram.order)]
    for length in range(ngram.order - 1, 1, -1):
        longer, _ = _split(found[length])
        rows = [longer, *contexts(ngram, length, AT_ONCE)]
        lacking = [row[~holds(ngram, length - 1, *_split(row))] for row in rows]
        found[length - 1] = np.unique(np.concatenate(lacking), axis=0)
    return found


def _split(contexts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Contexts (N, D) as their last tokens (N,), second, and the history (N, D) before these."""
    before = np.roll(contexts, -1, axis=1)
    before[:, -1] = ABSENT
    return before, contexts[:, 0]

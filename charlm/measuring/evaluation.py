"""How well a model predicts a split of a corpus, or a text read as its corpus would have been."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from charlm import adaptation, model_file
from charlm.config import PLAINLY, AdaptationConfig, PrepConfig
from charlm.errors import ConfigError, DataError
from charlm.measuring.bootstrap import block_begins, interval
from charlm.measuring.parallel import cold_nats, record_begins, records_nats, text_nats
from charlm.model_file import Model
from charlm.preparation.reading import Reader
from charlm.preparation.records import BOUNDARY_CHARS
from charlm.preparation.sources import Source
from charlm.preparation.spool import id_type
from charlm.sampling.engine import NumpyEngine
from charlm.sampling.text import opening
from charlm.score import Score
from charlm.tokenizer import Tokenizer
from charlm.tokenizer.encoders import Encoder, encoder
from charlm.tokenizer.reading import read
from charlm.tokenizer.symbols import code_point

WINDOW = 256  # tokens that nanoGPT's character example predicts at once: its block_size
NAMED = 10  # unknown characters in one message


@dataclass(frozen=True)
class Text:
    """The ids (T,) of a text, and how many characters, bytes and unknown symbols they stand for.

    `opening` is read before the first of them: a text begins a line.
    """

    ids: np.ndarray
    chars: int
    bytes: int
    unknown: int
    opening: Sequence[int] = ()


@dataclass(frozen=True)
class Evaluation:
    """How well a text was predicted, and how sure that is.

    The bounds are those of a 95 % interval of the bits per character, in nats; NaN for a text too
    short for one. `cold_nats` is the mean nats per token of cold windows, None where not asked for.
    """

    score: Score
    low_nats_per_char: float
    high_nats_per_char: float
    cold_nats: float | None


def load(path: Path) -> Model:
    """The model at `path`, which reads from left to right. Raises ConfigError for any other."""
    model = model_file.load(path)
    if model.network.config.bidirectional:
        raise ConfigError(
            f"{path} is bidirectional: it predicts each symbol from the text on both sides, so its"
            " figures are not code lengths. `charlm train` shows its own; `charlm score --each`"
            " measures texts with it."
        )
    return model


def raw_encoder(tokenizer: Tokenizer) -> Encoder:
    """What gives a text its ids, and -1 for each symbol outside the vocabulary."""
    stored = tokenizer.to_json()
    return encoder(read(stored), stored)


def of_corpus(model: Model, path: Path, split: str) -> Text:
    """The split of the corpus at `path`. Raises DataError where the model cannot read it."""
    from charlm.corpus import Corpus  # here because a text alone needs none of it

    corpus = Corpus(path)
    if corpus.tokenizer.hash != model.tokenizer.hash:
        raise DataError(
            f"{path} was prepared with another tokenizer than the model's; give the text file"
            " instead, or a corpus made with charlm prep --tokenizer and the tokenizer.json that"
            " the model was trained with."
        )
    if corpus.records != model.records:
        raise DataError(
            f"{path} was prepared with --records {corpus.records}, and the model's corpus with"
            f" --records {model.records}; give the text file instead."
        )
    size = corpus.size(split)
    if not size.tokens:
        raise DataError(f"{path} has no {split} split; prepare it with --{split}, or take another.")
    ids = corpus.ids(split)
    unknown = int(np.count_nonzero(ids == corpus.tokenizer.unknown))  # 0 where there is no <unk>
    begin = opening(model.tokenizer, model.records)
    return Text(ids, size.chars, size.bytes, unknown, begin)


def of_file(model: Model, path: Path, unknown: str) -> Text:
    """The text in a file (`Path("-")` is stdin), read as `charlm prep` reads one.

    `unknown`, one of config.UNKNOWN_POLICIES, says what becomes of a character outside the
    vocabulary; what is left out counts nowhere. Raises DataError where the text cannot be used.
    """
    tokenizer = model.tokenizer
    config = PrepConfig(
        level=tokenizer.level,
        words=tokenizer.words,
        normalize=tokenizer.normalize,
        records=model.records,
    )
    source = Source(path, lambda size_bytes: None)
    reader = Reader([source], config, locating=True)
    numbers = _Numbers(tokenizer, unknown, reader.where)
    kind = id_type(tokenizer.vocabulary)  # a long text is in memory whole
    boundary = np.array([] if tokenizer.boundary is None else [tokenizer.boundary], kind)
    found, ends = [], 0
    for pieces in reader.pieces():
        for i, piece in enumerate(pieces):
            if i:
                found.append(boundary)
                ends += 1
            found.append(numbers.ids(piece).astype(kind))
    ids = np.concatenate(found)
    if not len(ids):
        raise DataError(f"{source.name} holds nothing that the model can read.")
    size = ends * BOUNDARY_CHARS[model.records]
    begin = opening(tokenizer, model.records)
    return Text(ids, numbers.chars + size, numbers.bytes + size, numbers.unknown, begin)


def evaluate(
    model: Model,
    text: Text,
    config: AdaptationConfig = PLAINLY,
    *,
    cold: bool = False,
    advance: Callable[[int], None] = lambda tokens: None,
) -> Evaluation:
    """How well the model predicts the text, every token once, learning from it as `config` says.

    `advance` gets how many more tokens were read.

    With `cold` also the expectation of nanoGPT's estimate, the mean over windows of WINDOW tokens
    each read from the initial state. It is higher: a window's first tokens are predicted from
    next to nothing. Raises ConfigError for it where the model is of records, DataError where the
    text is a single token.
    """
    if cold and model.records != "none":
        raise ConfigError(
            "nanoGPT's protocol reads running text, and the model is of records; leave --protocol"
            " out."
        )
    if cold and len(text.ids) < 2:
        raise DataError("nanoGPT's protocol needs two tokens at least; leave --protocol out.")
    engine = NumpyEngine(model.network, model.weights)
    boundary = None if model.records == "none" else model.tokenizer.boundary
    if not config.off:
        reader = adaptation.reader_of(model.network, model.weights, config)
        for id in text.opening:
            reader.given(id)
        nats = adaptation.text_nats(reader, text.ids, boundary, advance)
    elif boundary is None:
        begin = len(text.opening)
        ids = np.concatenate([text.opening, text.ids]).astype(int)
        nats = text_nats(engine, ids, advance)[begin:]
    else:
        nats = records_nats(engine, text.ids, boundary, advance)
    begins = block_begins(len(text.ids)) if boundary is None else record_begins(text.ids, boundary)
    chars = _chars_by_token(model, text)
    bounds = interval(np.add.reduceat(nats, begins), np.add.reduceat(chars, begins))
    score = Score(float(nats.sum()), len(nats), text.chars, text.bytes, text.unknown)
    mean = float(cold_nats(engine, text.ids, WINDOW).mean()) if cold else None
    return Evaluation(score, *bounds, mean)


def _chars_by_token(model: Model, text: Text) -> np.ndarray:
    """The characters (T,) of each token; unknown ones share what the others leave of the text."""
    tokenizer = model.tokenizer
    table = np.array([sum(b & 0xC0 != 0x80 for b in piece) for piece in tokenizer.pieces], float)
    if tokenizer.boundary is not None:
        table[tokenizer.boundary] = BOUNDARY_CHARS[model.records]
    if tokenizer.unknown is not None and text.unknown:
        table[tokenizer.unknown] = 0
        counts = np.bincount(text.ids, minlength=len(table))
        left = text.chars - float(counts @ table)
        table[tokenizer.unknown] = left / max(1, counts[tokenizer.unknown])
    chars = table[text.ids]
    # Where a symbol was replaced, what it is read as may be shorter or longer than it.
    return chars * (text.chars / chars.sum()) if chars.any() else chars


class _Numbers:
    """Pieces of text to ids; counts their characters, their bytes and what is unknown in them.

    `where` says where a symbol of the piece stands.
    """

    def __init__(self, tokenizer: Tokenizer, unknown: str, where: Callable[[str], str]) -> None:
        self.chars = 0
        self.bytes = 0
        self.unknown = 0
        self._tokenizer = tokenizer
        self._encoder = raw_encoder(tokenizer)
        self._policy = unknown
        self._where = where

    def ids(self, piece: str) -> np.ndarray:
        """The ids of a piece. Raises DataError for an unknown character, unless told otherwise."""
        if self._tokenizer.level == "byte":  # whose text comes as the characters of its bytes
            ids = np.frombuffer(piece.encode("latin-1"), dtype=np.uint8).astype(np.int64)
            self.chars += int(np.count_nonzero(ids & 0xC0 != 0x80))
            self.bytes += len(ids)
            return ids
        ids = self._encoder.encode(piece)
        self._count(piece, 1)
        missing = ids < 0
        if not missing.any():
            return ids
        of_words = self._tokenizer.level == "word"
        symbols = self._tokenizer.splitter.split(piece) if of_words else piece
        strange = [symbols[at] for at in np.flatnonzero(missing).tolist()]
        self.unknown += len(strange)
        if self._policy == "skip":
            self._count("".join(strange), -1)
            return ids[~missing]
        if self._policy == "error" and not of_words:
            raise DataError(self._complaint(strange))
        return self._tokenizer.encode(piece, self._policy)

    def _count(self, text: str, times: int) -> None:
        self.chars += times * len(text)
        self.bytes += times * len(text.encode("utf-8"))

    def _complaint(self, strange: list[str]) -> str:
        symbols = list(dict.fromkeys(strange))
        named = [f"{code_point(symbol)} at {self._where(symbol)}" for symbol in symbols[:NAMED]]
        more = f"; and {len(symbols) - NAMED:,} more" if len(symbols) > NAMED else ""
        return (
            f"not in the model's vocabulary: {'; '.join(named)}{more}. Leave such characters out"
            " with --unknown skip, or have others in their place with --unknown replace or nearest."
        )

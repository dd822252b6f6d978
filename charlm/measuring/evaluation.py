"""How well a model predicts a split of a corpus, or a text read as its corpus would have been."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from charlm import adaptation, model_file
from charlm.config import PLAINLY, AdaptationConfig
from charlm.errors import ConfigError, DataError
from charlm.measuring.bootstrap import block_begins, interval
from charlm.measuring.parallel import cold_nats, record_begins, records_nats, text_nats
from charlm.measuring.records import Form, Record
from charlm.measuring.records import read as records_of
from charlm.measuring.scorer import Watch, unwatched
from charlm.measuring.symbols import (
    Symbolizer,
    Symbols,
    UnknownSymbolsError,
    joined,
    piece_chars,
    unread_of_corpus,
)
from charlm.mixture import Mixer
from charlm.model_file import Model
from charlm.sampling.engine import Engine, engine_of, parts_of
from charlm.sampling.text import opening
from charlm.score import Score
from charlm.untrusted import fits

WINDOW = 256  # tokens that nanoGPT's character example predicts at once: its block_size
NAMED = 10  # unknown characters in one message


@dataclass(frozen=True)
class Text:
    """The symbols of a text, and the `opening` that is read before the first: a text begins a line.

    `own_chars` (T,) has the characters of each symbol, which are shared out where they are not
    known, as those of the unknown words of a corpus are. To its first `mixed` tokens the model's
    mixer was fitted.
    """

    symbols: Symbols
    own_chars: np.ndarray
    opening: Sequence[int] = ()
    mixed: int = 0


@dataclass(frozen=True)
class Evaluation:
    """How well a text was predicted, and how sure that is.

    The bounds are those of a 95 % interval of the bits per character, in nats; NaN for a text too
    short for one. `cold_nats` is the mean nats per token of cold windows, None where not asked for,
    and `parts` have what the parts of a mixture cost alone, by the names of `engine.parts_of`.
    """

    score: Score
    low_nats_per_char: float
    high_nats_per_char: float
    cold_nats: float | None = None
    parts: dict[str, "Evaluation"] = field(default_factory=dict)


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
    ids, tokenizer = corpus.ids(split), corpus.tokenizer
    unknown = np.flatnonzero(ids == corpus.tokenizer.unknown).tolist()  # none without <unk>
    chars = _chars_by_token(model, ids, len(unknown), size.chars)
    unread = unread_of_corpus(tokenizer, model.records, ids, size.chars)
    own = dict.fromkeys(unknown, "")  # which a corpus does not have
    symbols = Symbols(ids, own, size.chars, size.bytes, np.zeros(unread, np.int8))
    is_own = split == "val" and corpus.hash == model.corpus_hash
    mixed = model.history.get("mixed_tokens") if is_own else None
    begun = opening(model.tokenizer, model.records)
    return Text(symbols, chars, begun, mixed if fits(int, mixed) else 0)


def of_file(model: Model, path: Path, unknown: str | None = None) -> Text:
    """The text in a file (`Path("-")` is stdin), read as `charlm prep` reads one.

    `unknown`, one of config.UNKNOWN_POLICIES or None, says what becomes of a symbol outside the
    vocabulary, as in `Symbolizer`. Raises DataError where the text cannot be used.
    """
    tokenizer = model.tokenizer
    symbolizer = Symbolizer(tokenizer, model.records, unknown)
    form = Form(kind="line" if model.records == "none" else model.records, crlf=True)
    if model.records == "none":
        form = Form()
    name = "stdin" if str(path) == "-" else str(path)
    found: list[Symbols] = []
    for records in records_of([path], form):
        if model.records == "none" and records:
            # One text: neither a token nor a normal form reaches across a newline.
            text = "".join(record.text + record.end for record in records)
            found.append(_located(symbolizer, records[0], text, ""))
            continue
        if records:
            found.append(joined([_of_record(symbolizer, record) for record in records]))
    if not found:
        raise DataError(f"{name} is empty.")
    symbols = joined(found)
    if not len(symbols.read):
        raise DataError(f"{name} holds nothing that the model can read.")
    chars = piece_chars(tokenizer, model.records)[symbols.ids]
    for place, own in symbols.unknown.items():
        chars[place] = len(own)
    return Text(symbols, chars, opening(tokenizer, model.records))


def evaluate(
    model: Model,
    text: Text,
    config: AdaptationConfig = PLAINLY,
    *,
    cold: bool = False,
    parts: bool = False,
    watch: Watch = unwatched,
) -> Evaluation:
    """How well the model predicts the text, every token once, learning from it as `config` says.

    `watch` is entered for all the tokens that are read, some of them several times, and what it
    gives hears how many more were read.

    With `cold` also the expectation of nanoGPT's estimate, the mean over windows of WINDOW tokens
    each read from the initial state. It is higher: a window's first tokens are predicted from
    next to nothing. Raises ConfigError for it where the model is of records, DataError where the
    text is a single token.

    With `parts` also what the network alone and the counts alone cost. Raises ConfigError for it
    where the model has no counts, or learns.
    """
    if cold and model.records != "none":
        raise ConfigError(
            "nanoGPT's protocol reads running text, and the model is of records; leave --protocol"
            " out."
        )
    ids = text.symbols.read
    if cold and len(ids) < 2:
        raise DataError("nanoGPT's protocol needs two tokens at least; leave --protocol out.")
    if parts and not config.off:
        raise ConfigError("the parts of a mixture are read without learning; leave --parts out.")
    alone = parts_of(model) if parts else {}
    boundary = None if model.records == "none" else model.tokenizer.boundary
    times = max(1, len(_halves(model, text)[0])) if config.off else 1
    mean = None
    with watch(len(ids) * (times + cold + len(alone))) as advance:
        if config.off:
            nats = _nats(model, text, boundary, advance)
        else:
            nats = _learning_nats(model, text, config, boundary, advance)
        if cold:
            mean = float(cold_nats(engine_of(model), ids, WINDOW, advance).mean())
        by_part = {
            name: _evaluation(text, _engine_nats(engine, text, boundary, advance), boundary)
            for name, engine in alone.items()
        }
    whole = _evaluation(text, nats, boundary)
    return replace(whole, cold_nats=mean, parts=by_part)


def _evaluation(text: Text, nats: np.ndarray, boundary: int | None) -> Evaluation:
    """What it comes to that the symbols that are read cost `nats` (T,)."""
    nats, ids = text.symbols.priced(nats), text.symbols.ids
    begins = block_begins(len(ids)) if boundary is None else record_begins(ids, boundary)
    bounds = interval(np.add.reduceat(nats, begins), np.add.reduceat(text.own_chars, begins))
    return Evaluation(text.symbols.score(nats), *bounds)


def _halves(model: Model, text: Text) -> tuple[list[Mixer], int]:
    """The mixers that predict the text up to a place and from there on, and that place.

    Each was fitted to the other half of what the mixer was fitted to. What lies beyond is predicted
    as the second half is. There are none where the mixer was fitted to none of the text.
    """
    halves = model.mixer.halves if model.mixer and text.mixed else ()
    return list(halves), (text.mixed + 1) // 2


def _nats(
    model: Model,
    text: Text,
    boundary: int | None,
    advance: Callable[[int], None],
) -> np.ndarray:
    """The nats (T,) of the text's tokens by a model that learns nothing."""
    mixers, middle = _halves(model, text)
    models = [replace(model, mixer=mixer) for mixer in mixers] or [model]
    found = [_engine_nats(engine_of(one), text, boundary, advance) for one in models]
    return np.concatenate([found[0][:middle], found[-1][middle:]])


def _learning_nats(
    model: Model,
    text: Text,
    config: AdaptationConfig,
    boundary: int | None,
    advance: Callable[[int], None],
) -> np.ndarray:
    """The nats (T,) of the text's tokens by a model that learns from them as `config` says."""
    reader = adaptation.reader_of(model.network, model.weights, config, model.counts)
    for id in text.opening:
        reader.given(id)
    ids, (mixers, middle) = text.symbols.read, _halves(model, text)
    if not mixers:
        return adaptation.text_nats(reader, ids, boundary, advance)
    found = []
    for mixer, half in zip(mixers, (ids[:middle], ids[middle:]), strict=True):
        reader.mix_by(mixer)
        found.append(adaptation.text_nats(reader, half, boundary, advance))
    return np.concatenate(found)


def _engine_nats(
    engine: Engine, text: Text, boundary: int | None, advance: Callable[[int], None]
) -> np.ndarray:
    """The nats (T,) of the text's tokens by an engine, which learns nothing."""
    if boundary is None:
        return text_nats(engine, text.symbols.read, text.opening, advance)
    return records_nats(engine, text.symbols.read, boundary, advance)


def _of_record(symbolizer: Symbolizer, record: Record) -> Symbols:
    if not record.text:
        return symbolizer.dropped(record.end)
    return _located(symbolizer, record, record.text, record.end)


def _located(symbolizer: Symbolizer, record: Record, text: str, end: str) -> Symbols:
    """The symbols of a text that begins where the record does; errors say where they are."""
    try:
        return symbolizer.symbols(text, end)
    except UnknownSymbolsError as error:
        named = [
            f"{what} at {record.file}, {_place(record, text, at)}"
            for what, at in error.first.items()
        ]
        more = f"; and {len(named) - NAMED:,} more" if len(named) > NAMED else ""
        raise DataError(
            f"not in the model's vocabulary: {'; '.join(named[:NAMED])}{more}. Leave such symbols"
            " out with --unknown skip, or have others in their place with --unknown replace or"
            " nearest."
        ) from error


def _place(record: Record, text: str, at: int) -> str:
    line = record.number + text.count("\n", 0, at)
    return f"line {line}, column {at - text.rfind(chr(10), 0, at)}"


def _chars_by_token(model: Model, ids: np.ndarray, unknown: int, chars: int) -> np.ndarray:
    """The characters (T,) of each token of a corpus; its unknown words share what is left."""
    table = piece_chars(model.tokenizer, model.records)
    if unknown:
        table[model.tokenizer.unknown] = 0
        left = chars - float(np.bincount(ids, minlength=len(table)) @ table)
        table[model.tokenizer.unknown] = left / unknown
    found = table[ids]
    return found * (chars / found.sum()) if found.any() else found

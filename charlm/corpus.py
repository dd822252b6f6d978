"""The corpus directory: `prepare` and `translate` write it, `Corpus` reads it.

`tokenizer.json` is a `tokenizers` file; `{train,val,test}.bin` are raw little-endian ids, uint8
when the vocabulary fits in 256, then uint16, uint32; `corpus.json` says the rest: the format
number, the hashes, each split's tokens, characters and bytes, and each source.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm import __version__
from charlm.atomic import whole_directory
from charlm.config import PrepConfig
from charlm.errors import ConfigError, DataError
from charlm.preparation import vocabularies
from charlm.preparation.doctor import findings
from charlm.preparation.numbering import missing_symbols, number_all, numbering
from charlm.preparation.reading import Reader, TextSpool
from charlm.preparation.splits import SPLITS, Numbered, SplitSize, splits_hash, write_splits
from charlm.preparation.spool import Spool, id_type
from charlm.preparation.translating import translated
from charlm.tokenizer import Tokenizer

FORMAT = 1
MARKER = "corpus.json"


class Corpus:
    """A prepared corpus, checked when it is opened; the ids stay on disk until they are read."""

    splits = SPLITS

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self.about = _about(self.path)
        """What corpus.json holds."""
        try:
            self.records: str = self.about["records"]
            self.hash: str = self.about["hash"]
            self._sizes = {split: SplitSize(**self.about["splits"][split]) for split in SPLITS}
            self.tokenizer = self._tokenizer(self.about["tokenizer_hash"])
            self._check_files(self.about["dtype"])
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{self.path / MARKER} is damaged ({error!r}); prepare the corpus again."
            ) from error

    def size(self, split: str) -> SplitSize:
        """How many tokens, characters and bytes the split holds."""
        return self._sizes[split]

    def ids(self, split: str) -> np.ndarray:
        """The split's ids, read-only and mapped from the file; empty where it has none."""
        kind = id_type(self.tokenizer.vocabulary)
        if not self._sizes[split].tokens:
            return np.frombuffer(b"", dtype=kind)
        return np.memmap(self.path / f"{split}.bin", dtype=kind, mode="r")

    def _tokenizer(self, expected: str) -> Tokenizer:
        path = self.path / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(path)
        except FileNotFoundError:
            raise DataError(f"{path} is missing; prepare the corpus again.") from None
        if tokenizer.hash != expected:
            raise DataError(f"{path} is not the tokenizer that the corpus was prepared with.")
        return tokenizer

    def _check_files(self, dtype: str) -> None:
        kind = id_type(self.tokenizer.vocabulary)
        if dtype != kind.name:
            raise DataError(
                f"{self.path / MARKER} says {dtype} where a vocabulary of"
                f" {self.tokenizer.vocabulary:,} takes {kind.name}; prepare the corpus again."
            )
        for split, size in self._sizes.items():
            path = self.path / f"{split}.bin"
            expected = size.tokens * kind.itemsize
            found = path.stat().st_size if path.exists() else None
            if found != expected:
                raise DataError(
                    f"{path} is {'missing' if found is None else f'{found:,} bytes long'} where"
                    f" {size.tokens:,} tokens take {expected:,} bytes; prepare the corpus again."
                )


def prepare(
    sources: Sequence[Path],
    out: Path,
    config: PrepConfig,
    *,
    tokenizer: Tokenizer | None = None,
    grow: bool = False,
    force: bool = False,
    say: Callable[[str], None] = lambda message: None,
    advance: Callable[[int], None] = lambda size_bytes: None,
) -> Corpus:
    """The corpus made from `sources`, written to the directory `out`.

    The sources are read once, one after another; `Path("-")` is stdin. With `tokenizer` its level
    and normal form replace those of `config`, and `grow` adds to it the symbols of the text that it
    lacks (`Tokenizer.grown`). `say` is told what is noteworthy about the text, a
    line at a time, and `advance` how many more bytes have been read. Raises DataError where a
    source cannot be used, and ConfigError where a knob does not fit the level.
    """
    if tokenizer is not None:
        config = replace(
            config, level=tokenizer.level, words=tokenizer.words, normalize=tokenizer.normalize
        )
        if config.records != "none" and tokenizer.boundary is None:
            raise DataError(
                "the tokenizer has no <boundary> to end a record with; make one with --records,"
                " or leave --records out."
            )
    if config.level == "byte" and (config.vocab_size is not None or config.min_count > 1):
        raise ConfigError("the bytes are 256; --vocab-size and --min-count have no place there.")
    out = Path(out)
    with whole_directory(out, marker=MARKER, force=force) as directory, ExitStack() as stack:
        paths = [Path(source) for source in sources]
        reader = Reader(paths, config, advance, locating=tokenizer is not None)
        pieces = reader.pieces()
        check = None if tokenizer is None or grow else missing_symbols(tokenizer, reader)
        if config.level == "bpe" and tokenizer is None:
            text = stack.enter_context(TextSpool(directory / "text.tmp"))
            for chunk in pieces:
                text.add(chunk)
            tokenizer = vocabularies.of_pairs(text, config, say)
            pieces = text.pieces()
        numbers = numbering(config, tokenizer)
        spool = stack.enter_context(Spool(directory / "ids.tmp"))
        counts = number_all(pieces, numbers, spool, check)
        if not counts.any():
            what = "is empty" if config.records == "none" else "has no record that is not empty"
            raise DataError(f"{reader.names} {what}.")
        vocabulary = vocabularies.fitting(numbers, counts, config, tokenizer, grow=grow)
        numbered = Numbered.of(spool, counts, vocabulary.ids, numbers, config.records)
        sizes, ids_hash = write_splits(numbered, vocabulary.tokenizer.vocabulary, config, directory)
        origin = {"sources": reader.sources(), "config": config.to_dict()}
        _write_about(directory, vocabulary.tokenizer, ids_hash, sizes, config.records, origin)
        for line in findings(reader, numbers, counts, vocabulary, sizes, config, directory):
            say(line)
    return Corpus(out)


def translate(corpus: Corpus, tokenizer: Tokenizer, out: Path, *, force: bool = False) -> Corpus:
    """The same text, split for split, in the ids of `tokenizer`, written to the directory `out`.

    The tokenizer is of the same level and normal form, and has all symbols of the corpus; see
    `Tokenizer.grown`. Byte pairs are spelled anew.
    """
    with whole_directory(out, marker=MARKER, force=force) as directory:
        digest = hashlib.sha256()
        sizes = {}
        for split in SPLITS:
            tokens = 0
            with (directory / f"{split}.bin").open("wb") as file:
                for ids in translated(corpus.ids(split), corpus.tokenizer, tokenizer):
                    digest.update(ids)
                    file.write(ids)
                    tokens += len(ids)
            sizes[split] = replace(corpus.size(split), tokens=tokens)
        ids_hash = splits_hash(digest, sizes)
        _write_about(directory, tokenizer, ids_hash, sizes, corpus.records, corpus.about)
    return Corpus(out)


def _write_about(
    directory: Path,
    tokenizer: Tokenizer,
    ids_hash: str,
    sizes: dict[str, SplitSize],
    records: str,
    origin: dict[str, Any],
) -> None:
    whole = f"{tokenizer.hash} {ids_hash} {records}"
    about = {
        "format": FORMAT,
        "version": __version__,
        "level": tokenizer.level,
        "records": records,
        "normalize": tokenizer.normalize,
        "vocabulary": tokenizer.vocabulary,
        "tokenizer_hash": tokenizer.hash,
        "hash": hashlib.sha256(whole.encode()).hexdigest(),
        "dtype": id_type(tokenizer.vocabulary).name,
        "splits": {split: asdict(size) for split, size in sizes.items()},
        "sources": origin["sources"],
        "config": origin["config"],
    }
    (directory / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8", newline="")
    text = json.dumps(about, ensure_ascii=False, indent=1)
    # A file's name need not be Unicode; what is not comes out as the shell would write it.
    (directory / MARKER).write_text(text + "\n", encoding="utf-8", errors="surrogateescape")


def _about(path: Path) -> dict[str, Any]:
    file = path / MARKER
    try:
        about = json.loads(file.read_text(encoding="utf-8", errors="surrogateescape"))
    except (FileNotFoundError, NotADirectoryError):
        raise DataError(
            f"{path} is not a corpus (it holds no {MARKER}); `charlm prep FILE -o DIR` makes one."
        ) from None
    except ValueError as error:
        raise DataError(f"{file} is not JSON ({error}); prepare the corpus again.") from error
    if not isinstance(about, dict) or about.get("format") != FORMAT:
        found = about.get("format") if isinstance(about, dict) else None
        raise DataError(
            f"{file} has format {found}, and this charlm reads {FORMAT}; prepare the corpus again."
        )
    return about

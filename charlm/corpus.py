"""The corpus directory: `prepare` and `translate` write it, `Corpus` reads it.

`tokenizer.json` is a `tokenizers` file; `{train,val,test}.bin` are raw little-endian ids, uint8
when the vocabulary fits in 256, then uint16, uint32; `corpus.json` says the rest: the format
number, the hashes, each split's tokens, characters and bytes, and each source.
"""

import hashlib
import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from charlm import __version__
from charlm.atomic import refuse_existing, whole_directory
from charlm.config import RECORDS, PrepConfig
from charlm.directories import CORPUS_NAME, check_is_corpus
from charlm.errors import ConfigError, DataError
from charlm.preparation import vocabularies
from charlm.preparation.crew import Crew, jobs_for
from charlm.preparation.doctor import findings
from charlm.preparation.lines import HeldOut
from charlm.preparation.pieces import Pieces
from charlm.preparation.reading import described, names
from charlm.preparation.sources import Source, check
from charlm.preparation.splits import SPLITS, Numbered, SplitSize, splits_hash, write_splits
from charlm.preparation.spool import READ_AT_ONCE, id_type
from charlm.preparation.translating import translated
from charlm.preparation.workplace import place, workplace
from charlm.tokenizer import Tokenizer
from charlm.untrusted import read_object, read_text

FORMAT = 1


class Corpus:
    """A prepared corpus, checked when it is opened; the ids stay on disk until they are read.

    Each split's file is opened once: where another corpus takes this one's place, it goes on with
    its own, and where the file itself is written to, nobody gets ids that are not its own.
    """

    splits = SPLITS

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._files: dict[str, _SplitFile] = {}  # those that were opened and looked through
        self.about = _about(self.path)
        """What corpus.json holds."""
        try:
            self.records: str = self.about["records"]
            self.hash: str = self.about["hash"]
            self._sizes = {split: _size(self.about["splits"][split]) for split in SPLITS}
            self.tokenizer = self._tokenizer(self.about["tokenizer_hash"])
            self._check_files(self.about["dtype"])
            if self.records not in RECORDS:
                raise TypeError(f"records {str(self.records)[:40]}")
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{self.path / CORPUS_NAME} is damaged ({error!r}); prepare the corpus again."
            ) from error

    def size(self, split: str) -> SplitSize:
        """How many tokens, characters and bytes the split holds."""
        return self._sizes[split]

    def ids(self, split: str) -> np.ndarray:
        """The split's ids, read-only and mapped from the file; empty where it has none.

        Raises DataError where one of them is outside the vocabulary, or where the file has been
        written to since it was first opened.
        """
        vocabulary = self.tokenizer.vocabulary
        kind = id_type(vocabulary)
        if not self._sizes[split].tokens:
            return np.frombuffer(b"", dtype=kind)
        if split in self._files:
            self._files[split].check()
            return self._files[split].ids
        file = _SplitFile(self.path / f"{split}.bin", kind)
        if vocabulary < 1 << 8 * kind.itemsize:
            for begin in range(0, len(file.ids), READ_AT_ONCE):
                if file.ids[begin : begin + READ_AT_ONCE].max() >= vocabulary:
                    raise DataError(
                        f"{file.path} is damaged: it has ids outside the vocabulary of"
                        f" {vocabulary:,}; prepare the corpus again."
                    )
        self._files[split] = file
        return file.ids

    def check_unchanged(self) -> None:
        """Raises DataError where a file whose ids were read has been written to since."""
        for file in self._files.values():
            file.check()

    def verify(self) -> None:
        """Reads all of it. Raises DataError unless every id is what was prepared."""
        digest = hashlib.sha256()
        for split in SPLITS:
            ids = self.ids(split)
            for begin in range(0, len(ids), READ_AT_ONCE):
                digest.update(ids[begin : begin + READ_AT_ONCE])
        found = _hash(self.tokenizer, splits_hash(digest, self._sizes), self.records)
        if found != self.hash:
            raise DataError(
                f"{self.path} is damaged: its ids are not those that were prepared; prepare the"
                " corpus again."
            )

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
                f"{self.path / CORPUS_NAME} says {dtype} where a vocabulary of"
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


class _SplitFile:
    """The ids of a file, mapped from it, and what tells whether they are as they were."""

    def __init__(self, path: Path, kind: np.dtype) -> None:
        self.path = path
        with path.open("rb") as file:
            self._before = os.fstat(file.fileno())
            self.ids = np.memmap(file, dtype=kind, mode="r")

    def check(self) -> None:
        """Raises DataError where the file has been written to since it was opened."""
        try:
            now = self.path.stat()
        except OSError:
            return  # the ids of a file that was removed are still there
        before = self._before
        if (now.st_dev, now.st_ino) != (before.st_dev, before.st_ino):
            return  # and so are those of one that was replaced
        if (now.st_size, now.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise DataError(
                f"{self.path} was written to while it was in use; prepare the corpus again, and"
                " begin anew."
            )


def prepare(
    sources: Sequence[Path],
    out: Path,
    config: PrepConfig,
    *,
    tokenizer: Tokenizer | None = None,
    grow: bool = False,
    force: bool = False,
    jobs: int | None = None,
    finish: Callable[[Path], None] = lambda directory: None,
    say: Callable[[str], None] = lambda message: None,
    advance: Callable[[int], None] = lambda size_bytes: None,
) -> Corpus:
    """The corpus made from `sources`, written to the directory `out`.

    The sources are read one after another; `Path("-")` is stdin. With `tokenizer` its level and
    normal form replace those of `config`, and `grow` adds to it the symbols of the text that it
    lacks (`Tokenizer.grown`). How many processes work on it, `jobs` (None: all cores for a long
    text), changes nothing. What they have done lies beside `out`, to go on from after a kill.
    `finish` may add to the directory before it has its name. `say` is told what is noteworthy, a
    line at a time, and `advance` how many more bytes were read. Raises DataError where a source
    can't be used, and ConfigError where a knob does not fit the level.
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
    out, paths = Path(out), [Path(source) for source in sources]
    check(paths)
    refuse_existing(out.absolute(), markers=(CORPUS_NAME,), force=force, inputs=paths)
    with (
        workplace(place(out), say) as folder,
        whole_directory(out, marker=CORPUS_NAME, force=force, within=folder) as directory,
    ):
        read = [Source(path, advance) for path in paths]
        checked = tokenizer is not None and not grow
        text = Pieces(read, config, tokenizer, folder, checked=checked, say=say)
        with Crew(jobs or jobs_for(paths)) as crew:
            text.number(crew)
        if not text.counts.any():
            what = "is empty" if config.records == "none" else "has no record that is not empty"
            raise DataError(f"{names(read)} {what}.")
        vocabulary = vocabularies.fitting(
            text.numbers, text.counts, config, text.tokenizer, grow=grow
        )
        tokenizer = vocabulary.tokenizer
        numbered = Numbered.of(text, vocabulary.ids, config.records)
        held_out = HeldOut(text.lines, text.numbers.spelled())
        sizes, ids_hash = write_splits(
            numbered, tokenizer.vocabulary, config, directory, listen=held_out.add
        )
        origin = {"sources": described(read), "config": config.to_dict()}
        _write_about(directory, tokenizer, ids_hash, sizes, config.records, origin)
        for line in findings(text, vocabulary, sizes, config, held_out):
            say(line)
        finish(directory)
    return Corpus(out)


def translate(corpus: Corpus, tokenizer: Tokenizer, out: Path, *, force: bool = False) -> Corpus:
    """The same text, split for split, in the ids of `tokenizer`, written to the directory `out`.

    The tokenizer is of the same level and normal form, and has all symbols of the corpus; see
    `Tokenizer.grown`. Byte pairs are spelled anew.
    """
    with whole_directory(out, marker=CORPUS_NAME, force=force) as directory:
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


def join(corpora: Sequence[Corpus], out: Path, *, force: bool = False) -> Corpus:
    """The corpora one after another, split for split, written to the directory `out`.

    Raises DataError unless they share a tokenizer and what ends a record.
    """
    first, *others = corpora
    for other in others:
        if (other.tokenizer.hash, other.records) != (first.tokenizer.hash, first.records):
            tokenizer = shlex.quote(str(first.path / "tokenizer.json"))
            raise DataError(
                f"{other.path} has another tokenizer, or other records, than {first.path}; prepare"
                f" it again with --tokenizer {tokenizer}."
            )
    with whole_directory(out, marker=CORPUS_NAME, force=force) as directory:
        digest = hashlib.sha256()
        sizes = {}
        for split in SPLITS:
            parts = [asdict(corpus.size(split)) for corpus in corpora]
            sizes[split] = SplitSize(
                **{name: sum(part[name] for part in parts) for name in parts[0]}
            )
            with (directory / f"{split}.bin").open("wb") as file:
                for ids in (corpus.ids(split) for corpus in corpora):
                    for begin in range(0, len(ids), READ_AT_ONCE):
                        digest.update(ids[begin : begin + READ_AT_ONCE])
                        file.write(ids[begin : begin + READ_AT_ONCE])
        sources = [source for corpus in corpora for source in corpus.about["sources"]]
        origin = {"sources": sources, "config": first.about["config"]}
        ids_hash = splits_hash(digest, sizes)
        _write_about(directory, first.tokenizer, ids_hash, sizes, first.records, origin)
    return Corpus(out)


def _hash(tokenizer: Tokenizer, ids_hash: str, records: str) -> str:
    return hashlib.sha256(f"{tokenizer.hash} {ids_hash} {records}".encode()).hexdigest()


def _size(values: dict[str, Any]) -> SplitSize:
    size = SplitSize(**values)
    if any(type(count) is not int or count < 0 for count in asdict(size).values()):
        raise TypeError(f"a split of {str(values)[:80]}")
    return size


def _write_about(
    directory: Path,
    tokenizer: Tokenizer,
    ids_hash: str,
    sizes: dict[str, SplitSize],
    records: str,
    origin: dict[str, Any],
) -> None:
    about = {
        "format": FORMAT,
        "version": __version__,
        "level": tokenizer.level,
        "records": records,
        "normalize": tokenizer.normalize,
        "vocabulary": tokenizer.vocabulary,
        "tokenizer_hash": tokenizer.hash,
        "hash": _hash(tokenizer, ids_hash, records),
        "dtype": id_type(tokenizer.vocabulary).name,
        "splits": {split: asdict(size) for split, size in sizes.items()},
        "sources": origin["sources"],
        "config": origin["config"],
    }
    (directory / "tokenizer.json").write_text(tokenizer.to_json(), encoding="utf-8", newline="")
    text = json.dumps(about, ensure_ascii=False, indent=1)
    # A file's name need not be Unicode; what is not comes out as the shell would write it.
    (directory / CORPUS_NAME).write_text(text + "\n", encoding="utf-8", errors="surrogateescape")


def _about(path: Path) -> dict[str, Any]:
    check_is_corpus(path)
    file = path / CORPUS_NAME
    try:
        about = read_object(read_text(file, errors="surrogateescape"))
    except ValueError as error:
        raise DataError(
            f"{file} is not JSON that charlm reads ({error}); prepare the corpus again."
        ) from error
    if about.get("format") != FORMAT:
        raise DataError(
            f"{file} has format {about.get('format')}, and this charlm reads {FORMAT}; prepare the"
            " corpus again."
        )
    return about

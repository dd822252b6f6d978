"""A text numbered piece by piece: by how many processes changes nothing that comes of it."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from charlm import __version__
from charlm.config import PrepConfig
from charlm.preparation import cutting, sources, vocabularies
from charlm.preparation.crew import Crew
from charlm.preparation.cutting import Cutting
from charlm.preparation.lines import Lines
from charlm.preparation.numbering import Numbering, numbering
from charlm.preparation.sources import Source
from charlm.preparation.spool import StoredText, id_type, numbers_in
from charlm.preparation.work import Found, Task
from charlm.tokenizer import Tokenizer

# Kept numbers take the widest type: what the whole text will need is known at its end only.
KEPT_TYPE = np.dtype("<u4")


class Pieces:
    """A text as numbers, and what is worth knowing about it.

    The numbers, `numbers`, are those of the whole text; `counts` says how often each appears, and
    `tokenizer` is that of byte pairs, learned from the text where none was given. `lines`, `marks`,
    `wide` and `odd` are as a Reader of the whole and its Decoding have them.
    """

    numbers: Numbering

    def __init__(
        self,
        read: Sequence[Source],
        config: PrepConfig,
        tokenizer: Tokenizer | None,
        folder: Path,
        *,
        checked: bool,
        say: Callable[[str], None],
    ) -> None:
        self.sources = read
        self.tokenizer = tokenizer
        self.counts = np.zeros(0, dtype=np.int64)
        self.lines = Lines()
        self.marks: list[str] = []
        self.wide: list[tuple[str, str]] = []
        self.odd: Counter[str] = Counter()
        self._config = config
        self._folder = folder
        self._checked = checked
        self._say = say
        self._earlier = {_place(path.name) for path in folder.glob("*.json")}
        self._told: set[str] = set()
        self._numbers_of: list[tuple[dict[str, Any], Path | None]] = []

    def number(self, crew: Crew) -> None:
        """Reads and numbers all. Raises DataError where a source cannot be used."""
        tasks = self._tasks(Cutting(self.sources, self._config.records, self._folder, self._key()))
        if self._config.level == "bpe" and self.tokenizer is None:
            texts = [found["spool"] for found in self._found(crew.work(tasks))]
            text = StoredText(self._folder, texts)
            self.tokenizer = vocabularies.of_pairs(text, self._config, self._say)
            tasks = self._spelling(texts)
        self.numbers = numbering(self._config, self.tokenizer)
        for found in self._found(crew.work(tasks)):
            table = self.numbers.learn(found["symbols"])
            more = self.numbers.size - len(self.counts)
            self.counts = np.append(self.counts, np.zeros(more, dtype=np.int64))
            self.counts[table[: len(found["counts"])]] += np.array(found["counts"], dtype=np.int64)
            self._numbers_of.append((found["spool"], self._kept(table, found["spool"]["file"])))

    def chunks(self) -> Iterator[np.ndarray]:
        """All the numbers, a chunk at a time."""
        for spool, path in self._numbers_of:
            table = None if path is None else self._read(path)
            for numbers in numbers_in(self._folder, spool):
                yield numbers if table is None else table[numbers]

    def _key(self) -> str:
        """What decides, beside the text, what becomes of a piece."""
        config = self._config
        decided = [config.level, config.words, config.normalize, config.records, self._checked]
        tokenizer = None if self.tokenizer is None else self.tokenizer.hash
        sizes = [sources.CHUNK, cutting.PIECE_BYTES]
        return json.dumps([__version__, *decided, tokenizer, *sizes])

    def _tasks(self, cut: Cutting) -> Iterator[Task]:
        learned = self._config.level == "bpe" and self.tokenizer is None
        for piece in cut.pieces():
            # Most characters are in the first pieces, and whoever knows them numbers them as here.
            known = list(self.numbers.symbols) if self._config.level == "char" else []
            yield {
                **self._task(piece.name, "text" if learned else "numbers"),
                "stretches": piece.stretches,
                "known": known,
                "checked": self._checked,
                "bits": self.lines.bits,
            }

    def _spelling(self, texts: Sequence[dict[str, Any]]) -> Iterator[Task]:
        """The tasks that make numbers of texts which earlier tasks have kept."""
        assert self.tokenizer is not None
        for number, text in enumerate(texts):
            made_of = hashlib.sha256(f"{self.tokenizer.hash} {text['file']}".encode())
            task = self._task(f"{number:05}p-{made_of.hexdigest()[:32]}", "numbers")
            yield {**task, "text": text, "known": []}

    def _task(self, name: str, kind: str) -> Task:
        path = None
        if self.tokenizer is not None:
            path = self._folder / f"{self.tokenizer.hash}.tokenizer"
            if not path.exists():
                path.write_text(self.tokenizer.to_json(), encoding="utf-8", newline="")
        return {
            "folder": str(self._folder),
            "name": name,
            "kind": kind,
            "config": self._config.to_dict(),
            "tokenizer": None if path is None else str(path),
        }

    def _found(self, answers: Iterable[Found]) -> Iterator[Found]:
        """What is found in each piece, when the text doctor and the user have been told of it."""
        for found in answers:
            at = _place(found["spool"]["file"])
            (self._folder / f"{at}.source").unlink(missing_ok=True)
            if found["kept"]:
                self._tell("going on from what an earlier start has done")
            elif at in self._earlier:
                self._tell("the text or an option has changed since an earlier start: done anew")
            if "lines" in found:
                self.lines.absorb(found["lines"])
                self.marks += found["marks"]
                self.wide += map(tuple, found["wide"])
                self.odd.update(found["odd"])
            yield found

    def _tell(self, line: str) -> None:
        if line not in self._told:
            self._told.add(line)
            self._say(line)

    def _kept(self, table: np.ndarray, name: str) -> Path | None:
        """Where the numbers that a piece's own have here lie; None where they are the same."""
        if (table == np.arange(len(table))).all():
            return None
        path = (self._folder / name).with_suffix(".numbers")
        path.write_bytes(table.astype(KEPT_TYPE))
        return path

    def _read(self, path: Path) -> np.ndarray:
        return np.fromfile(path, KEPT_TYPE).astype(id_type(self.numbers.size))


def _place(name: str) -> str:
    """The part of a piece's name that tells which of them it is, and in which pass."""
    return name.partition("-")[0]

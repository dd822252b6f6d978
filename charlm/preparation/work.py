"""The work on one piece of text, in whatever process: what goes in and comes out is JSON.

A task names the folder and the piece, and has the knobs, the file of a tokenizer, and the piece:
stretches of sources, or text that an earlier task has kept. What is found lies in the folder as
NAME.json when the work is done, beside NAME.text or NAME.ids; a task whose work is done already
is not done again.
"""

import json
import zlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from charlm.config import PrepConfig
from charlm.preparation.lines import Lines
from charlm.preparation.numbering import missing_symbols, number_all, numbering
from charlm.preparation.reading import Reader
from charlm.preparation.sources import Stretch
from charlm.preparation.spool import Spool, StoredText, TextSpool, growing, whole
from charlm.tokenizer import Tokenizer

Task = dict[str, Any]
Found = dict[str, Any]


def do(task: Task) -> Found:
    """What is found in the piece: "spool", and of numbers "symbols" and "counts".

    Of stretches also what the text doctor asks about. "kept" says whether it was there already.
    Raises DataError where the text cannot be used.
    """
    folder = Path(task["folder"])
    stored = folder / f"{task['name']}.json"
    if (done := _done(stored)) is not None:
        return {**done, "kept": True}
    config = PrepConfig.from_dict(task["config"])
    tokenizer = None if task["tokenizer"] is None else _tokenizer(task["tokenizer"])
    reader = check = None
    if "text" in task:
        chunks = StoredText(folder, [task["text"]]).chunks()
    else:
        stretches = [Stretch(**stretch) for stretch in task["stretches"]]
        checked = tokenizer is not None and task["checked"]
        reader = Reader(stretches, config, Lines(task["bits"]), locating=checked)
        check = missing_symbols(tokenizer, reader) if checked else None
        chunks = reader.pieces()
    found: Found = {}
    if task["kind"] == "text":
        with TextSpool(folder / f"{task['name']}.text") as text:
            for chunk in chunks:
                text.add(chunk)
            found["spool"] = text.keep()
    else:
        numbers = numbering(config, tokenizer)
        if task["known"]:
            numbers.learn(task["known"])
        with Spool(folder / f"{task['name']}.ids") as spool:
            counts = number_all(chunks, numbers, spool, check)
            found["spool"] = spool.keep()
        found |= {"symbols": list(numbers.symbols), "counts": counts.tolist()}
    if reader is not None:
        found["lines"] = reader.lines.state()
        found["marks"] = reader.decoding.marks
        found["wide"] = reader.decoding.wide
        found["odd"] = reader.decoding.odd
    unfinished = growing(stored)
    unfinished.write_text(json.dumps({**found, "checksum": _checksum(found)}), encoding="ascii")
    unfinished.replace(stored)
    return {**found, "kept": False}


def _done(stored: Path) -> Found | None:
    """What an earlier process has found, where its work is still whole."""
    try:
        found = json.loads(stored.read_text(encoding="ascii"))
        right = found.pop("checksum") == _checksum(found)
        return found if right and whole(stored.parent, found["spool"]) else None
    except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _checksum(found: Found) -> int:
    return zlib.crc32(json.dumps(found).encode("ascii"))


@lru_cache(maxsize=1)
def _tokenizer(path: str) -> Tokenizer:
    return Tokenizer.from_file(Path(path))

"""What each line of a text costs a model, whatever the model's tokens are.

A model of running text reads the whole as one text, one of records reads each record on its own. A
token counts for the line in which it begins. Every character is paid for: what the tokens do not
tell of the bytes, such as what `<unk>` stands for and what a model's reading drops, costs as much
as to name it. So neither a small vocabulary nor a forgetful reading is an advantage.
"""

from collections.abc import Callable

import numpy as np

from charlm.measuring.parallel import SteppedReader, record_figures, text_nats
from charlm.measuring.records import Form, of_bytes
from charlm.measuring.symbols import Symbolizer, Symbols
from charlm.model_file import Model
from charlm.sampling.engine import engine_of
from charlm.sampling.text import opening
from charlm.score import NAMING_NATS


def line_sizes(data: bytes) -> np.ndarray:
    """The bytes (N,) of each line of a text that is not empty, with the newline that ends it."""
    ends = np.flatnonzero(np.frombuffer(data, dtype=np.uint8) == ord("\n")) + 1
    if not len(ends) or ends[-1] < len(data):
        ends = np.append(ends, len(data))
    return np.diff(ends, prepend=0)


def line_nats(
    model: Model, text: str, advance: Callable[[int], None] = lambda tokens: None
) -> tuple[np.ndarray, int]:
    """The nats (N,) of each line of a text that is not empty, and how many symbols are unknown.

    Bytes that are not UTF-8 are lone surrogates in it. `advance` gets how many more tokens were
    read.
    """
    symbolizer = Symbolizer(model.tokenizer, model.records)
    count = text.count("\n") + (not text.endswith("\n"))
    found, lines, unread, begins = [], [], [], []
    line = at = 0
    for symbols, whole in _parts(symbolizer, model.records, text):
        breaks = np.cumsum(symbolizer.breaks(symbols))
        lines.append(line + np.concatenate([[0], breaks])[: len(symbols.ids)])
        unread.append(line + symbols.unread)
        found.append(symbols)
        begins.append(at)
        at += len(symbols.read)
        line += whole.count("\n")
    ids = np.concatenate([one.read for one in found])
    nats = _nats(model, ids, np.array(begins), advance)
    ends = [*begins[1:], at]
    priced = [
        one.priced(nats[begin:end]) for one, begin, end in zip(found, begins, ends, strict=True)
    ]
    # The end of a file that is a record comes after its last line.
    places = np.minimum(np.concatenate(lines).astype(int), count - 1)
    costs = np.bincount(places, weights=np.concatenate(priced), minlength=count)
    named = np.bincount(np.concatenate(unread).astype(int), minlength=count)
    return costs + NAMING_NATS * named, sum(len(one.unknown) for one in found)


def _parts(symbolizer: Symbolizer, records: str, text: str) -> "list[tuple[Symbols, str]]":
    """The symbols of each record, or of the running text, and the text that they stand for."""
    if records == "none":
        return [(symbolizer.symbols(text, ""), text)]
    data = text.encode("utf-8", "surrogateescape")
    found = []
    for record in of_bytes(data, "", Form(crlf=True, kind=records)):
        whole = record.text + record.end
        read = symbolizer.symbols(record.text, record.end) if record.text else None
        found.append((symbolizer.dropped(whole) if read is None else read, whole))
    return found


def _nats(
    model: Model, ids: np.ndarray, begins: np.ndarray, advance: Callable[[int], None]
) -> np.ndarray:
    engine = engine_of(model)
    if not len(ids):
        return np.empty(0)
    if model.records != "none":
        begins = np.unique(begins[begins < len(ids)])
        return record_figures(SteppedReader(engine), ids, begins, advance=advance)[0]
    return text_nats(engine, ids, opening(model.tokenizer, model.records), advance)

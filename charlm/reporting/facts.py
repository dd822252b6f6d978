"""What a report tells, as plain data: the one block of JSON that its page shows."""

import base64
import math
from collections.abc import Callable
from typing import Any

import numpy as np

from charlm import __version__
from charlm.config import SamplingConfig
from charlm.curves import reading
from charlm.errors import DataError
from charlm.inspection import memory
from charlm.inspection.gradient import WARMUP, norms
from charlm.inspection.units import Units
from charlm.measuring.scorer import Watch, unwatched
from charlm.model_file import Model
from charlm.reporting import commands, passage, units
from charlm.reporting.page import block
from charlm.reporting.source import Source
from charlm.sampling.engine import engine_of
from charlm.sampling.generate import Row
from charlm.sampling.text import Manner, opening, sample_texts
from charlm.training.initialise import initial_weights

READ = 20_000  # symbols from which memory and gradient are measured
BACK = 100  # symbols that they look back
POINTS = 400  # of one curve
SEEDS = 8  # whose curves are drawn
SAMPLES = 12
SAMPLE_CHARS = 400  # of each, whatever a log holds
WORD = 200  # characters of a setting
PIECE_BYTES = 240  # of the JSON of a piece of the passage
SYMBOL_BYTES = 80  # of the JSON of a symbol
BOTH_SIDES = "A bidirectional network reads a text from both ends, and has no one state at a place."


def gather(
    source: Source, say: Callable[[str], None] = lambda line: None, watch: Watch = unwatched
) -> dict[str, Any]:
    """The facts of a run; `say` is told what is being measured. Law: the same run, the same facts.

    `watch` is entered for each measurement, as `Scorer` does.

    Where something can't be told of a run, it is None, and "missing" says why.
    """
    facts: dict[str, Any] = {"name": source.run.resolve().name, "version": __version__}
    facts["summary"] = _summary(source)
    facts["curves"] = _curves(source)
    facts |= _samples(source)
    say("reading a passage")
    missing: dict[str, str] = {}
    facts |= _passage(source, missing, watch)
    say("measuring memory")
    facts["memory"] = _or_none(missing, "memory", lambda: _memory(source, watch))
    say("measuring the gradient")
    facts["gradient"] = _or_none(missing, "gradient", lambda: _gradient(source, watch))
    facts["missing"] = missing
    facts["settings"] = _settings(source)
    facts["command"] = commands.again(source)
    facts["by_clock"] = source.model.training.get("budget") is not None
    return facts


def _summary(source: Source) -> list[list[str]]:
    config, history = source.model.network.config, source.model.history
    bits, elapsed_s, steps = (
        history.get(name) for name in ("val_bits_per_char", "elapsed_s", "steps")
    )
    return [
        ["best validation", f"{bits:.4f} bits/char" if isinstance(bits, float) else "none"],
        ["network", f"{config.cell} {config.layers}x{config.width}"],
        *([["members", str(config.members)]] if config.members > 1 else []),
        ["parameters", f"{source.model.network.parameters():,}"],
        ["training text", f"{source.corpus.size('train').chars:,} characters"],
        ["updates", f"{steps:,}" if isinstance(steps, int) else "unknown"],
        ["time", f"{elapsed_s:,.0f} s" if isinstance(elapsed_s, float) else "unknown"],
    ]


def _curves(source: Source) -> list[dict[str, Any]]:
    found = []
    for log in source.logs[:SEEDS]:
        for split, columns in reading.tables(log).items():
            count = len(columns["steps"])
            kept = np.unique(np.linspace(0, count - 1, min(count, POINTS)).astype(int))
            several = len(source.logs) > 1
            name = f"{log.parent.name[:WORD]} {split}" if several else split
            values = {key: _rounded(column[kept]) for key, column in columns.items()}
            found.append({"name": name, "run": source.logs.index(log), "split": split, **values})
    return found


def _samples(source: Source) -> dict[str, Any]:
    """The samples that the run kept at its validations, or else one that is drawn now."""
    kept = [one for one in source.entries if isinstance(one.get("sample"), str) and one["sample"]]
    chosen = np.unique(np.linspace(0, len(kept) - 1, min(len(kept), SAMPLES)).astype(int)).tolist()
    samples = [
        {
            "text": one["sample"][:SAMPLE_CHARS],
            "steps": one.get("steps"),
            "bits": one.get("val_bits_per_char"),
            "best": one.get("best"),
        }
        for one in (kept[i] for i in chosen)
    ]
    samples = [one for one in samples if all(map(_is_number, (one["steps"], one["bits"])))]
    if samples or source.model.network.config.bidirectional:
        return {"samples": samples, "drawn_now": False}
    text = _drawn(source.model)
    return {"samples": [{"text": text, "steps": None, "bits": None}], "drawn_now": True}


def _drawn(model: Model) -> str:
    pieces: list[str] = []
    begin = opening(model.tokenizer, model.records)
    sample_texts(
        engine_of(model),
        model.tokenizer,
        [Row(0, begin)],
        Manner(SamplingConfig(), 0, SAMPLE_CHARS),
        emit=lambda row, text: pieces.append(text),
        ended=lambda row, sample: None,
    )
    return "".join(pieces)


def _passage(source: Source, missing: dict[str, str], watch: Watch) -> dict[str, Any]:
    model = source.model
    shown: list[int] = []
    tracking: list[Any] = []
    if model.network.config.bidirectional:
        missing["units"] = BOTH_SIDES
    else:
        shown, tracking = units.choose(model, source.ids, watch)
    found = passage.read(model, passage.choose(model, source.ids), shown, watch)
    if not math.isfinite(found.nats):
        raise DataError(f"{source.run} predicts nothing that is a number; train it again.")
    used = sorted({id for piece in found.pieces for id, _ in piece.likeliest})
    place = {id: i for i, id in enumerate(used)}
    facts: dict[str, Any] = {
        "passage": {
            "split": source.split,
            "nats": found.nats,
            "both_sides": bool(model.network.config.bidirectional),
            "symbols": [short(model.tokenizer.symbol(id), SYMBOL_BYTES) for id in used],
            "pieces": [
                [
                    short(piece.text, PIECE_BYTES),
                    round(piece.nats, 6),
                    [[place[id], round(share, 5)] for id, share in piece.likeliest],
                ]
                for piece in found.pieces
            ],
        },
        "units": None,
    }
    if shown:
        named = Units(model.network)
        levels, low, high = units.packed(found.units)
        facts["units"] = {
            "names": [named.name(number) for number in shown],
            "of": named.count,
            "low": _rounded(np.array(low)),
            "high": _rounded(np.array(high)),
            "levels": base64.b64encode(levels).decode("ascii"),
            "tracking": [
                [each.track, shown.index(each.unit), round(each.correlation, 4)]
                for each in tracking
            ],
        }
    return facts


def short(text: str, most: int) -> str:
    """A text whose JSON takes `most` bytes at most; where the rest is left out, "…" ends it."""
    if len(block(text)) <= most:
        return text
    end = next(end for end in range(most, -1, -1) if len(block(f"{text[:end]}…")) <= most)
    return f"{text[:end]}…"


def _memory(source: Source, watch: Watch) -> dict[str, Any]:
    ids = _running(source)
    back = min(BACK, len(ids) // 2)
    if back < 1:
        raise DataError("the text is too short for it.")
    engine = engine_of(source.model)
    with watch(memory.tokens_read(ids, back)) as advance:
        curve = memory.by_context(engine, ids, back, advance)
    return {
        "seen": [seen.symbols for seen in curve],
        "bits": _rounded(np.array([seen.nats for seen in curve]) / math.log(2)),
        "effective": memory.effective(curve),
        "close": memory.CLOSE,
    }


def _gradient(source: Source, watch: Watch) -> dict[str, Any]:
    ids, model = _running(source), source.model
    back = min(BACK, len(ids) - WARMUP - 1)
    if back < 2:
        raise DataError("the text is too short for it.")
    seed = model.training.get("seed")
    begun = initial_weights(model.network, seed if isinstance(seed, int) else 0)
    with watch(2 * (WARMUP + back)) as advance:
        return {
            "back": list(range(1, back + 1)),
            "trained": _rounded(norms(model.network, model.weights, ids, back, advance)),
            "untrained": _rounded(norms(model.network, begun, ids, back, advance)),
        }


def _running(source: Source) -> np.ndarray:
    """The text to look back over. Raises DataError where there is no running text, or no back."""
    if source.model.network.config.bidirectional:
        raise DataError(BOTH_SIDES)
    if source.model.records != "none":
        raise DataError("The model was trained on records, and there is no running text.")
    return source.ids[:READ]


def _or_none(missing: dict[str, str], name: str, measure: Callable[[], Any]) -> Any:
    try:
        return measure()
    except DataError as error:
        missing[name] = str(error)
        return None


def _settings(source: Source) -> list[Any]:
    corpus, model = source.corpus, source.model
    text = {
        "corpus": str(corpus.path),
        "corpus_hash": corpus.hash,
        "level": corpus.tokenizer.level,
        "records": corpus.records,
        "vocabulary": corpus.tokenizer.vocabulary,
    }
    text |= {f"{split} characters": f"{corpus.size(split).chars:,}" for split in corpus.splits}
    groups = {
        "network": model.network.config.to_dict(),
        "text": text,
        "best model": model.history,
        "training": model.training,
    }
    return [
        [name, [[key[:WORD], _word(group[key])] for key in group]] for name, group in groups.items()
    ]


def _word(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return (f"{value:.6g}" if isinstance(value, float) else str(value))[:WORD]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _rounded(values: np.ndarray) -> list[float | None]:
    """Six digits of each value; None for what is not finite, which JSON has no word for."""
    return [float(f"{v:.6g}") if math.isfinite(v) else None for v in values.tolist()]

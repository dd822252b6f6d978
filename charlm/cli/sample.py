"""`charlm sample`: text from a model, on stdout as it is made."""

import json
import random
import sys
import time
from pathlib import Path
from typing import Any

import click

from charlm.cli.options import PATH, knob_options, take
from charlm.config import UNKNOWN_POLICIES, SamplingConfig
from charlm.errors import ConfigError, DataError

# A pipe is flushed this often: at once to the eye, and rarely enough to cost nothing.
FLUSH_EVERY_S = 0.05


@click.command("sample", short_help="Write text in a model's style.")
@click.argument("model", type=PATH)
@click.option("-p", "--prompt", help="Text to go on from.")
@click.option("--prompt-file", type=PATH, help="A file with the prompt; - for stdin.")
@click.option("--echo/--no-echo", default=True, help="Whether the prompt is part of the output.")
@click.option("--stop", "stops", multiple=True, help="End a sample before this text (repeatable).")
@click.option(
    "--unknown",
    type=click.Choice(UNKNOWN_POLICIES),
    default="error",
    show_default=True,
    help="What to do with characters of the prompt that the model does not know.",
)
@knob_options(SamplingConfig)
@click.option(
    "--device",
    type=click.Choice(["cpu", "cuda", "mps"]),
    default="cpu",
    show_default=True,
    help="Where to run; all but cpu need torch.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object per sample, a line each.")
def command(
    model: Path,
    prompt: str | None,
    prompt_file: Path | None,
    echo: bool,
    stops: tuple[str, ...],
    unknown: str,
    device: str,
    as_json: bool,
    **values: Any,
) -> None:
    """Write text in the style of MODEL, a run directory or a model file.

    The text goes to stdout as it is made, and nothing else does. Several samples are one a line
    where a record is a line, else a blank line apart. The filters work in this order: temperature,
    top-k, top-p, min-p.

    \b
    charlm sample run --prompt "To be" --temperature 0.8 --length 300
    charlm sample run -n 10 --seed 7 --json | jq -r .text
    """
    if prompt is not None and prompt_file is not None:
        raise click.UsageError("Give --prompt or --prompt-file, not both.")
    config: SamplingConfig = take(SamplingConfig, values)
    if any(not stop for stop in stops):
        raise click.UsageError("--stop needs some text.")

    import numpy as np

    from charlm import model_file
    from charlm.sampling.engine import NumpyEngine, TorchEngine
    from charlm.sampling.text import DEFAULT_LENGTH, RECORD_LENGTH, opening, sample_texts

    loaded = model_file.load(model)
    if loaded.network.config.bidirectional:
        raise ConfigError(
            f"{model} is bidirectional: it needs the text on both sides of a gap, and can't write"
            " from left to right. Fill gaps with `charlm fill`, or train without --bidirectional."
        )
    text = _prompt(prompt, prompt_file)
    ids = loaded.tokenizer.encode(text, unknown=unknown) if text else np.empty(0, np.int64)
    if loaded.tokenizer.level == "word" and len(ids):
        strange = ids == loaded.tokenizer.unknown
        if strange[0]:
            # A word carries the space before it, which nobody types before a prompt.
            spaced = loaded.tokenizer.encode(" " + text, unknown=unknown)
            if spaced[0] != loaded.tokenizer.unknown:
                ids, strange = spaced, spaced == loaded.tokenizer.unknown
        if strange.any():
            what = "word" if strange.sum() == 1 else "words"
            click.echo(f"{strange.sum()} {what} of the prompt not in the vocabulary", err=True)
    if device == "cpu":
        engine = NumpyEngine(loaded.network, loaded.weights)
    else:
        engine = TorchEngine(loaded.network, loaded.weights, device)
    seed = config.seed
    if seed is None:
        seed = random.SystemRandom().randrange(2**31)
        if not (config.greedy or config.temperature == 0):
            click.echo(f"seed {seed}", err=True)
    length = config.length
    if length is None:
        length = DEFAULT_LENGTH if loaded.records == "none" else RECORD_LENGTH
    shown = ""
    if echo:
        # What was typed, unless --unknown had it changed.
        shown = text if unknown == "error" else loaded.tokenizer.decode(ids, "surrogateescape")
    gap = "" if loaded.records == "line" else "\n"
    writer = _Json(shown, seed) if as_json else _Plain(shown, gap, last=config.samples - 1)
    sample_texts(
        engine,
        loaded.tokenizer,
        opening(loaded.tokenizer, loaded.records, ids),
        config,
        seed=seed,
        length=length,
        stops=stops,
        emit=writer.emit,
        ended=writer.ended,
    )


class _Plain:
    """The samples as text, each ending with a newline, flushed as they grow."""

    def __init__(self, shown: str, gap: str, *, last: int) -> None:
        self._shown = shown
        self._gap = gap
        self._last = last
        self._tail = ""
        self._current: int | None = None
        self._flushed = 0.0

    def emit(self, k: int, text: str) -> None:
        self._begin(k)
        self._write(text)

    def ended(self, k: int, why: str) -> None:
        self._begin(k)
        self._write(("" if self._tail == "\n" else "\n") + (self._gap if k != self._last else ""))
        self._current = None
        sys.stdout.flush()

    def _begin(self, k: int) -> None:
        if self._current != k:
            self._current = k
            self._tail = ""
            self._write(self._shown)

    def _write(self, text: str) -> None:
        if not text:
            return
        sys.stdout.write(text)
        self._tail = text[-1]
        now = time.monotonic()
        if now - self._flushed > FLUSH_EVERY_S:
            sys.stdout.flush()
            self._flushed = now


class _Json:
    """The samples as JSON objects, one a line."""

    def __init__(self, shown: str, seed: int) -> None:
        self._shown = shown
        self._seed = seed
        self._pieces: list[str] = []

    def emit(self, k: int, text: str) -> None:
        self._pieces.append(text)

    def ended(self, k: int, why: str) -> None:
        sample = {"sample": k, "seed": self._seed, "stopped": why}
        text = self._shown + "".join(self._pieces)
        sample["text"] = text.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
        self._pieces = []
        click.echo(json.dumps(sample, ensure_ascii=False))


def _prompt(prompt: str | None, prompt_file: Path | None) -> str:
    if prompt_file is None:
        return prompt or ""
    name = "stdin" if str(prompt_file) == "-" else str(prompt_file)
    data = sys.stdin.buffer.read() if name == "stdin" else prompt_file.read_bytes()
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{name} is not UTF-8 (byte 0x{data[error.start]:02X} at offset {error.start})."
            " Re-save it as UTF-8."
        ) from error

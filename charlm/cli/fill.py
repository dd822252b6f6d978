"""`charlm fill`: a text with gaps in, the same text with its gaps filled out."""

import math
import random
import re
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.amounts import counted
from charlm.cli.bars import Bar
from charlm.cli.files import text_of
from charlm.cli.options import PATH, knob_options, take
from charlm.cli.shading import for_stdout, json_line, printable
from charlm.config import UNKNOWN_POLICIES, SamplingConfig
from charlm.errors import ConfigError, DataError
from charlm.knobs import knob

if TYPE_CHECKING:
    from charlm.model_file import Model
    from charlm.sampling.fill import Drawn, Gapped

LONGEST = 10_000  # symbols in a gap; beyond it a length is a slip of the finger
TRIES = 128  # draws of a gap, of which the best is kept


class Lengths(click.ParamType):
    """The length of each gap: 5, or 1-12, or several with commas; held as it was written."""

    name = "lengths"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """The value, if it can be read."""
        if not self.read(value):
            self.fail(
                f"{value!r} is not a length from 1 to {LONGEST:,}; write 5, or 1-12, or one for"
                " each gap with commas between them.",
                param,
                ctx,
            )
        return value

    @staticmethod
    def read(value: str) -> list[range]:
        """The lengths that the first gaps can have, the last for all further ones; [] if wrong."""
        found = []
        for part in value.split(","):
            match = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", part.strip())
            low, high = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
            if not 1 <= low <= high <= LONGEST:
                return []
            found.append(range(low, high + 1))
        return found


@dataclass(frozen=True)
class FillConfig(SamplingConfig):
    """How gaps are filled: drawn as samples are, with less risk and in lengths of their own."""

    # Of the characters of held-out gaps of 3 in tiny Shakespeare an lstm 1x232 restored 54 % by one
    # draw at 0.5, and 69 % by the best of 16 draws at 0.7 or at 1.
    temperature: float = knob(
        0.7, "Below 1 safer, above 1 wilder; 0 is the same as --greedy.", low=0
    )
    length: str = knob(
        "1-12",
        "Symbols in a gap: 5, or 1-12 to choose what reads best, or several with commas, one for"
        " each gap (of a line, where a line is a record) and the last for all others. A symbol is"
        " a character, or a byte, word or byte pair where the model is of these.",
    )
    samples: int = knob(1, "How many fillings to make.", low=1, short="-n")
    tries: int | None = knob(
        None,
        "Draw each gap so often, and keep what reads best with the text after it (default: 128, or"
        " 1 with -n, so that the fillings differ).",
        low=1,
    )
    passes: int = knob(
        2, "How often several gaps are filled again, each given the others as they are.", low=0
    )


@click.command("fill", short_help="Fill gaps in a text.")
@click.argument("model", type=PATH)
@click.argument("file", type=PATH, default="-")
@click.option("--gap", default="___", show_default=True, help="The text that marks a gap.")
@click.option(
    "--unknown",
    type=click.Choice(UNKNOWN_POLICIES),
    default="error",
    show_default=True,
    help="What to do with characters that the model does not know; they stay in the text.",
)
@knob_options(FillConfig, types={"length": Lengths()})
@click.option("--json", "as_json", is_flag=True, help="One JSON object per filling, a line each.")
def command(model: Path, file: Path, gap: str, unknown: str, as_json: bool, **values: Any) -> None:
    """Fill the gaps in FILE (or stdin) with what MODEL expects there, given both sides of them.

    MODEL is a run directory or a model file, trained with --bidirectional. The text goes to stdout
    with its gaps filled, and otherwise as it was. Where a line is a record, each line is a text of
    its own. Of several lengths a gap gets the one that reads best with the text after it, or the
    last where nothing follows. The filters work in this order: temperature, top-k, top-p, min-p.

    \b
    charlm train data -o run --bidirectional
    charlm fill run letter.txt --length 3,1-8
    charlm fill run letter.txt -n 5 --seed 7 --json | jq -c .fills
    echo "To be, or ___ to be" | charlm fill run --length 3
    """
    if not gap:
        raise click.UsageError("--gap needs some text.")
    config: FillConfig = take(FillConfig, values)

    from charlm import model_file
    from charlm.sampling import processors
    from charlm.sampling.fill import Filler, draws

    loaded = model_file.load(model)
    if not loaded.network.config.bidirectional:
        raise ConfigError(
            f"{model} reads from left to right, and can't see what follows a gap. Train a model"
            " that can: charlm train CORPUS -o RUN --bidirectional"
        )
    reader = _Reader(loaded, gap, unknown)
    errors = "surrogateescape" if loaded.tokenizer.level == "byte" else "strict"
    remedy = "Re-save it as UTF-8, or fill it with a model of bytes."
    records = reader.records(text_of(file, errors, remedy))
    read = [reader.ids(record, number) for number, (record, _) in enumerate(records, 1)]
    if reader.strange:
        words = counted(reader.strange, "word")
        click.echo(f"{words} of the text not in the vocabulary", err=True)
    greedy = config.greedy or config.temperature == 0
    seed = random.SystemRandom().randrange(2**31) if config.seed is None else config.seed
    if not any(read):
        click.echo(f"no gap ({gap}) in the text, which passes through as it is", err=True)
    elif config.seed is None and not greedy:
        click.echo(f"seed {seed}", err=True)
    filler = Filler(
        loaded.network,
        loaded.weights,
        processors=[processors.ban(reader.silent), *processors.pipeline(config)],
        greedy=greedy,
    )
    lengths = Lengths.read(config.length)
    fillings = [_Filling() for _ in range(config.samples)]
    counts = [len(gapped.not_first) for gapped in read if gapped is not None]
    bar = Bar(sum(draws(count, config.samples, config.passes) for count in counts), "gaps")
    for number, ((record, end), gapped) in enumerate(zip(records, read, strict=True)):
        *pieces, last = record.split(gap)
        drawn: Iterable[list[Drawn]] = [[]] * config.samples
        if gapped is not None:
            drawn = filler.fill(
                gapped,
                [lengths[min(g, len(lengths) - 1)] for g in range(len(pieces))],
                samples=config.samples,
                seed=[seed, number],
                passes=config.passes,
                tries=config.tries or (TRIES if config.samples == 1 else 1),
                advance=bar.update,
            )
        for filling, gaps in zip(fillings, drawn, strict=True):
            filling.add(pieces, reader.texts(pieces, gaps), last + end)
            filling.nats += sum(one.nats for one in gaps)
        if config.samples == 1 and not as_json:
            bar.clear()
            sys.stdout.write(for_stdout(fillings[0].take()))
    bar.close()
    if as_json:
        for k, filling in enumerate(fillings):
            about = {"sample": k, "seed": seed, **filling.about()}
            click.echo(json_line(about))
    elif config.samples > 1:
        # As `sample` sets its samples apart.
        texts = [filling.take() for filling in fillings]
        texts = [text if text.endswith("\n") else f"{text}\n" for text in texts]
        sys.stdout.write(for_stdout(("" if loaded.records == "line" else "\n").join(texts)))


class _Reader:
    """Text with gaps to ids, and what was drawn for the gaps to text.

    `silent` are the ids that stand for no text; `strange` counts the unknown words so far.
    """

    def __init__(self, loaded: "Model", gap: str, unknown: str) -> None:
        tokenizer = self._tokenizer = loaded.tokenizer
        self._by_line = loaded.records == "line"
        self._gap = gap
        self._unknown = unknown
        self.strange = 0
        self.silent = [id for id in (tokenizer.unknown, tokenizer.boundary) if id is not None]
        # Something known, of a gap's length; the last of the characters is not a newline.
        spoken = [piece for id, piece in enumerate(tokenizer.pieces) if id not in self.silent]
        self._known = max(spoken).decode("utf-8", "replace") * len(gap)
        # A word carries the space before it. So where a gap follows a space, that space is the
        # beginning of the gap's first word.
        pieces = enumerate(tokenizer.pieces)
        self._bare = [id for id, piece in pieces if piece[:1] != b" " or piece == b" "]
        some_carry = len(self._bare) < tokenizer.vocabulary
        self._carries = tokenizer.level in ("word", "bpe") and some_carry

    def records(self, text: str) -> list[tuple[str, str]]:
        """The texts that are filled each by itself, with the line ends after them."""
        if not self._by_line:
            return [(text, "")]
        parts = re.split(r"(\r?\n)", text)
        return list(zip(parts[::2], [*parts[1::2], ""], strict=True))

    def ids(self, record: str, number: int) -> "Gapped | None":
        """The record's text between its gaps, and its end where that is known; None without a gap.

        Raises DataError for a character outside the vocabulary, unless told what to do with it.
        """
        *pieces, last = record.split(self._gap)
        if not pieces:
            return None

        import numpy as np

        from charlm.sampling.fill import Gapped

        tokenizer = self._tokenizer
        if self._unknown == "error" and tokenizer.level == "char":
            # In one piece, so that the error tells the true place.
            try:
                tokenizer.encode(record.replace(self._gap, self._known))
            except DataError as error:
                where = f"record {number:,}: " if self._by_line else ""
                raise DataError(f"{where}{error}") from error
        known = [piece[: len(piece) - self._at_space(piece)] for piece in pieces]
        ids = [tokenizer.encode(piece, self._unknown) for piece in (*known, last)]
        if tokenizer.level == "word":
            self.strange += sum(int((some == tokenizer.unknown).sum()) for some in ids)
        if self._by_line and tokenizer.boundary is not None:
            ids[-1] = np.append(ids[-1], tokenizer.boundary)
        return Gapped(ids, [self._bare if self._at_space(piece) else [] for piece in pieces])

    def texts(self, pieces: list[str], drawn: "list[Drawn]") -> list[str]:
        """What was drawn after each of the pieces, as text."""
        return [
            self._tokenizer.decode(one.ids, "surrogateescape")[self._at_space(piece) :]
            for piece, one in zip(pieces, drawn, strict=True)
        ]

    def _at_space(self, piece: str) -> bool:
        return self._carries and piece.endswith(" ")


class _Filling:
    """One filling of the whole text, as it grows."""

    def __init__(self) -> None:
        self._parts: list[str] = []
        self._fills: list[str] = []
        self.nats = 0.0

    def add(self, pieces: list[str], fills: list[str], last: str) -> None:
        """Goes on with each piece and what fills the gap after it, then with `last`."""
        for piece, fill in zip(pieces, fills, strict=True):
            self._parts += [piece, fill]
        self._parts.append(last)
        self._fills += fills

    def take(self) -> str:
        """The text so far, which is forgotten."""
        text = "".join(self._parts)
        self._parts = []
        return text

    def about(self) -> dict[str, Any]:
        """What --json tells."""
        chars = sum(map(len, self._fills))
        return {
            "bits_per_char": self.nats / math.log(2) / chars if chars else None,
            "fills": [printable(fill) for fill in self._fills],
            "text": printable(self.take()),
        }

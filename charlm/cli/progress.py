"""What `train` shows while it works: a bar on a terminal, and a line for each validation."""

import math
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from charlm.amounts import counted
from charlm.cli.shading import harmless

if TYPE_CHECKING:
    from tqdm import tqdm

    from charlm.training.board import Board
    from charlm.training.run import Run
    from charlm.training.standing import Listener, Outcome

# A run of fewer updates has hardly begun; tokens of a text from which nothing general is learned.
FEW_UPDATES, LITTLE_TEXT = 50, 1_000
# A network begins at the loss of guessing, and only steps that are too large lead far above it.
WILD = 1.2


class Progress:
    """Shows a run on stderr; the bar disappears when stderr is not a terminal, and all if quiet."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self._bar: tqdm | None = None
        self._began = time.monotonic()
        self._tokens_before = 0
        self._tokens_per_char = 1.0
        self._shown: dict[str, str] = {}
        self._unit, self._units_per_char = "char", 1.0
        self._board: Board | None = None

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *exception: object) -> None:
        if self._bar is not None:
            self._bar.close()
        if self._board is not None:
            self._board.close()

    def record(self, out: Path | None) -> None:
        """Writes what the run logs for TensorBoard, too: to the directory `out`, if there is one.

        Raises ConfigError where that can't be done.
        """
        if out is not None:
            from charlm.training.board import Board

            self._board = Board(out)

    def listener(self) -> "Listener":
        """The listener that shows what a run tells here."""
        from charlm.training.standing import Listener

        return Listener(report=self._report, say=self.say, update=self._update, stopping=_stopping)

    def say(self, text: str) -> None:
        """Writes a line above the bar."""
        if not self.quiet:
            self.complain(text)

    def complain(self, text: str) -> None:
        """Writes a line that is not for those alone who want to know how it gets on."""
        if sys.stderr.isatty():
            text = harmless(text)  # what the model has drawn may be among it
        if self._bar is not None and not self._bar.disable:
            self._bar.write(text, file=sys.stderr)
        else:
            click.echo(text, err=True)

    def figures(self, nats_per_char: float) -> str:
        """The figure in bits and nats per character, or per byte where a run's text is bytes."""
        nats, unit = nats_per_char / self._units_per_char, self._unit
        return f"{nats / math.log(2):.4f} bits/{unit} ({nats:.4f} nats/{unit})"

    def begin(self, run: "Run") -> None:
        """Says what is trained, and draws the bar."""
        from tqdm import tqdm

        network = run.network
        train = run.corpus.size("train")
        self.say(
            f"{config_words(network.config)}, {network.parameters():,} parameters,"
            f" on {counted(train.tokens, 'token')}, a vocabulary of {network.vocabulary:,}"
        )
        if network.vocabulary == 1:
            self.say("warning: a vocabulary of one symbol, so there is nothing to learn")
        if run.corpus.tokenizer.level == "byte":
            # Bytes need not be text, so that characters would be a strange measure of them.
            self._unit, self._units_per_char = "byte", train.bytes / max(1, train.chars)
        self._tokens_before = run.trainer.tokens
        self._tokens_per_char = train.tokens / max(1, train.chars)
        self._began = time.monotonic()
        self._bar = tqdm(
            total=100,
            bar_format="{percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}",
            file=sys.stderr,
            disable=self.quiet or not sys.stderr.isatty(),
            leave=False,
            dynamic_ncols=True,
        )

    def end(self, run: "Run", outcome: "Outcome") -> None:
        """Removes the bar and says how it went."""
        self._bar.close()
        best = outcome.best_nats_per_char
        found = "not validated" if best is None else f"best {self.figures(best)}"
        elapsed_s = run.standing.elapsed_s
        if best is not None and run.standing.best_steps != outcome.steps:
            found += f" at step {run.standing.best_steps:,}"
        self.say(f"{counted(outcome.steps, 'update')} in {elapsed_s:.0f} s, {found} -> {run.out}")
        guessing = math.log(run.network.vocabulary) * self._tokens_per_char
        if best is not None and best > guessing:
            remedy = _remedy(run, outcome.steps, best / guessing)
            self.complain(f"worse than guessing ({self.figures(guessing)}): {remedy}")

    def _update(self, progress: float, tokens: int) -> None:
        if self._bar.disable:
            return
        rate = (tokens - self._tokens_before) / self._tokens_per_char
        rate /= max(1e-9, time.monotonic() - self._began)
        self._shown["speed"] = f"{rate:,.0f} chars/s"
        self._bar.set_postfix_str(", ".join(self._shown.values()), refresh=False)
        self._bar.update(min(100.0, 100 * progress) - self._bar.n)

    def _report(self, entry: dict[str, Any]) -> None:
        if self._board is not None:
            self._board.report(entry)
        if "loss_nats" in entry:
            bits = entry["bits_per_char"] / self._units_per_char
            self._shown["loss"] = f"loss {entry['loss_nats']:.3f} ({bits:.3f} bits/{self._unit})"
            return
        if "mixed_val_nats_per_char" in entry:
            self.say(
                f"mixed with counts: validation {self.figures(entry['mixed_val_nats_per_char'])};"
                f" the network alone {self.figures(entry['network_val_nats_per_char'])},"
                f" the counts alone {self.figures(entry['ngram_val_nats_per_char'])}"
                if entry["network_val_nats_per_char"] is not None
                else f"counts: validation {self.figures(entry['mixed_val_nats_per_char'])}"
            )
            return
        if "val_nats_per_char" not in entry:
            return  # told in words
        self.say(
            f"step {entry['steps']:,}: validation {self.figures(entry['val_nats_per_char'])}"
            + ("" if entry["best"] else " (not the best)")
        )


def _stopping(number: int) -> None:
    """Says at once that a signal was heard; what it asks for may take its time."""
    if number == signal.SIGINT:
        text = "saving; press again to stop at once"
    else:
        text = f"saving after {signal.Signals(number).name}"
    if sys.stderr.isatty():
        text = f"\n{text}"  # below the bar, and the ^C
    with suppress(OSError):
        # The signal may have come while the stream itself was writing.
        os.write(sys.stderr.fileno(), f"{text}\n".encode())


def _remedy(run: "Run", updates: int, times_guessing: float) -> str:
    """What helps a run that has learned nothing, whose loss is so many times that of guessing."""
    if times_guessing > WILD:
        return f"try a lower --lr (it was {run.config.lr:g})"
    if updates < FEW_UPDATES:
        return "so few updates teach little; give it longer with --budget or --steps"
    if run.corpus.size("train").tokens < LITTLE_TEXT:
        return "there is too little text to learn from"
    return f"try a lower --lr (it was {run.config.lr:g})"


def config_words(config: Any) -> str:
    """A network's shape in a few words: `lstm 2x512`."""
    extras = [
        f"{config.members} members" if config.members > 1 else "",
        "feed-forward" if config.feed_forward else "",
        f"attention to {config.memory}" if config.attention else "",
        "bidirectional" if config.bidirectional else "",
        f"{config.norm} norm" if config.norm != "none" else "",
        "residual" if config.residual else "",
        "tied" if config.tied else "",
    ]
    return ", ".join([f"{config.cell} {config.layers}x{config.width}", *filter(None, extras)])

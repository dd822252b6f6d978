"""Corpora and models, made as the commands `prep` and `train` make them."""

import os
import time
from collections.abc import Callable, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, Unpack

from charlm import model_file, presets
from charlm.cells import cells_named
from charlm.config import NetworkConfig, PrepConfig, TrainingConfig
from charlm.corpus import Corpus
from charlm.corpus import prepare as prepare_corpus
from charlm.errors import ConfigError, DataError
from charlm.knobs import plain
from charlm.library.errors import errors_for_programs
from charlm.library.model import Model
from charlm.library.options import PrepOptions, TrainOptions
from charlm.packages import require
from charlm.preparation.sources import files_of
from charlm.tokenizer import Tokenizer

NETWORK_KNOBS = frozenset(f.name for f in fields(NetworkConfig))


def prepare(
    sources: str | Path | Sequence[str | Path],
    out: str | Path,
    *,
    tokenizer: Tokenizer | None = None,
    index: bool = False,
    force: bool = False,
    jobs: int | None = None,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[int], None] = lambda size_bytes: None,
    **knobs: Unpack[PrepOptions],
) -> Corpus:
    """The corpus made of one text file, of several or of a folder of them, in the directory `out`.

    The knobs are those of `charlm prep`, and so is `jobs`, how many processes work on a long text.
    `say` is told what is odd about the text, and `progress` how many more bytes have been read. A
    start after one that was killed goes on from what is done. Raises DataError where a source can't
    be used or `out` is there already (without `force`), and ConfigError for a knob.

    >>> corpus = prepare("book.txt", "data", val=0.1)
    >>> corpus.tokenizer.level, corpus.size("val").chars > 0
    ('char', True)
    """
    with errors_for_programs() as own:
        paths = [Path(one) for one in ([sources] if isinstance(sources, str | Path) else sources)]
        for path in paths:
            os.fsencode(path)  # before anything is made: no file is called what is not Unicode
        paths = files_of(paths)
        config = PrepConfig.from_dict(dict(knobs))
        out, say = Path(out), own(say)
        settings = {"tokenizer": tokenizer, "jobs": plain(jobs), "force": force}
        settings |= {"say": say, "advance": own(progress)}
        if not index:
            return prepare_corpus(paths, out, config, **settings)

        from charlm.novelty import build

        require("pydivsufsort")  # before a long text is read for nothing

        def finish(directory: Path) -> None:
            say("indexing the training text")
            build(directory)

        return prepare_corpus(paths, out, config, finish=finish, **settings)


def train(
    corpus: str | Path,
    out: str | Path,
    *,
    init: str | Path | None = None,
    preset: str | None = None,
    force: bool = False,
    say: Callable[[str], None] = lambda line: None,
    progress: Callable[[dict[str, Any]], None] = lambda entry: None,
    **knobs: Unpack[TrainOptions],
) -> Model:
    """The best model of a run in the directory `out`, trained on a corpus or a text file.

    The knobs are those of `charlm train`, with `budget` in seconds, and so are `init`, a model to
    go on from, and `preset`. `progress` gets each object of the run's log as it is written (a
    training report has "loss_nats", a validation "val_bits_per_char", both "steps" and
    "elapsed_s"), and `say` the lines for people. A signal that stops it is raised again when what
    `charlm train --resume` needs is saved. Raises ConfigError for a knob, DataError where the
    corpus can't be used, and TrainingError where the loss is not a number any more.

    >>> losses = []
    >>> model = train(
    ...     "book.txt", "trained", steps=20, width=16, seed=1,
    ...     progress=lambda entry: losses.append(entry.get("loss_nats")),
    ... )
    >>> model.contents.history["steps"], losses[0] > 0
    (20, True)
    """
    started = time.monotonic()
    with errors_for_programs() as own:
        corpus, out, given = Path(corpus), Path(out), dict(knobs)
        init = None if init is None else Path(init)
        model, network, training = _asked(out, init, preset, given)
        if not corpus.exists():
            raise DataError(f"{corpus} does not exist.")

        from charlm.training import directory

        directory.check_new(out, [corpus], force=force, several=False)

        from charlm.training import counting, run_corpus
        from charlm.training.standing import Listener

        listener = Listener(report=own(progress), say=own(say))
        if model is None and counting.is_enough(network, training):
            with directory.held(out), directory.corpus_kept(out):
                prepared = run_corpus.corpus_for([corpus], out, None, own(say))
                counting.train(prepared, out, training, listener, started)
            return Model.load(out)
        # torch takes a second or two to load: after the checks above
        from charlm.training import begin, device
        from charlm.training.fine_tuning import Origin

        with directory.held(out), device.settings_kept():
            with directory.corpus_kept(out):
                prepared = run_corpus.corpus_for([corpus], out, model, own(say))
                origin = None if model is None else Origin(init, model)
                run = begin.begin(prepared, out, network, training, listener, started, origin)
            stopped = run.go().signal
        if stopped is not None:
            os.kill(os.getpid(), stopped)
        return Model.load(out)


def _asked(
    out: Path, init: Path | None, preset: str | None, given: dict[str, Any]
) -> tuple[model_file.Model | None, NetworkConfig, TrainingConfig]:
    """The model to go on from, if any, the network and the training that the knobs ask for.

    Raises ConfigError where they don't go together.
    """
    if preset is not None:
        if preset not in presets.PRESETS:
            raise ConfigError(f"preset is {preset!r}; it can be {', '.join(presets.PRESETS)}.")
        if init is not None:
            raise ConfigError("preset names a network, and init takes the model's own.")
        presets.fill(given, preset, set(given))
    shape = {name: plain(given.pop(name)) for name in NETWORK_KNOBS & given.keys()}
    model = None if init is None else model_to_tune(init, out, shape)
    network = NetworkConfig.from_dict(shape) if model is None else model.network.config
    cells_named(network.cell)
    return model, network, TrainingConfig.from_dict(given)


def model_to_tune(init: Path, out: Path, shape: dict[str, Any]) -> model_file.Model:
    """The model that a run in `out` goes on from, where nothing contradicts it.

    Raises ConfigError where a knob in `shape` is not as the model has it, or where making the run
    would remove the model.
    """
    model = model_file.load(init)
    for name, value in sorted(shape.items()):
        theirs = getattr(model.network.config, name)
        if value != theirs:
            option = name.replace("_", "-")
            raise ConfigError(f"--{option} is {theirs} in {init}, and stays so; leave it out.")
    if out.resolve() in model_file.find(init).resolve().parents:
        raise ConfigError(f"{init} is to be kept; give the new run another name.")
    return model

"""What lies in a run directory beside what a run itself writes: its own corpus, several seeds.

A run of several seeds has `seeds.json`, the seeds, and a whole run in `seed-N` for each. One
process at a time trains in a directory. What a look at it says against a run is said before
anything is loaded, and what its files say before torch is, which takes seconds.
"""

import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from charlm import atomic
from charlm.amounts import counted
from charlm.directories import LAST_NAME, LOG_NAME, MODEL_NAME, SEEDS_NAME, check_is_corpus
from charlm.errors import ConfigError, DataError, TrainingError
from charlm.preparation import workplace
from charlm.signals import undone

OWN_CORPUS = "corpus"  # where a run keeps the corpus that was prepared for it alone
KEPT_NAME = f".{OWN_CORPUS}.kept.tmp"  # that of an earlier run, until a new one is begun
JOB_NAME = f".{LAST_NAME}.job.tmp"  # until there is something saved; `held` removes it


def check_directory(out: Path, *, force: bool) -> None:
    """Raises DataError unless a run may be made in `out`; see `atomic.refuse_existing`."""
    atomic.refuse_existing(out, markers=(LOG_NAME, OWN_CORPUS, SEEDS_NAME), force=force)


def check_new(out: Path, paths: Sequence[Path], *, force: bool, several: bool) -> None:
    """Raises what speaks against a new run in `out`, on these corpora, with several seeds."""
    corpora = [path for path in paths if path.is_dir()]
    check_directory(out, force=force)
    for path in corpora:
        check_is_corpus(path)
    with held(out):
        pass

    # numpy takes a moment to load: after the checks above
    from charlm.corpus import Corpus
    from charlm.training.run_corpus import check_corpus

    for path in corpora:
        check_corpus(Corpus(path), several=several)


def check_saved(out: Path, corpus: Path | None, changes: dict[str, Any]) -> None:
    """Raises what speaks against going on with the run in `out`; see `begin.resume`.

    Of one of several seeds that is only what speaks against any run at all.
    """
    if not out.is_dir():
        raise DataError(f"{out} is not a run; `charlm train CORPUS -o RUN` makes one.")
    with held(out):
        if (out / SEEDS_NAME).exists():
            return
        check_last(out / LAST_NAME)

        # numpy takes a moment to load: after the checks above
        from charlm.training import run_corpus

        about = run_corpus.saved(out)
    parts = [about.get(name) for name in ("run", "training", "trainer")]
    if not all(isinstance(part, dict) for part in parts):
        return  # damaged, which whoever reads all of it says
    with suppress(TypeError):  # damaged, too
        check_unfinished(out, *parts, changes)
    run_corpus.corpus_to_resume(
        out, corpus, Path(str(about.get("corpus_path"))), about.get("corpus_hash")
    )


def check_last(path: Path) -> None:
    """Raises DataError where a run has nothing to go on with in `path`."""
    if not path.exists():
        raise DataError(f"{path.parent} holds no {LAST_NAME}, so there is no run to go on with.")


def check_unfinished(
    out: Path,
    run: dict[str, Any],
    training: dict[str, Any],
    trainer: dict[str, Any],
    changes: dict[str, Any],
) -> None:
    """Raises ConfigError where the run, saved so, has ended and `changes` give it no more."""
    patience = changes.get("patience", training.get("patience"))
    stale = run.get("stale_validations", 0)
    if patience is not None and stale >= patience:
        raise ConfigError(
            f"{out} stopped because {stale} validations brought nothing better. Give it more with"
            " --patience, or begin a new run."
        )
    if run.get("finished") and not changes.keys() - {"device", "precision"}:
        raise ended(out, trainer.get("steps", 0))


def ended(out: Path, steps: int) -> ConfigError:
    """The error for a run in `out` that has come to its end."""
    return ConfigError(
        f"{out} has reached its end, after {counted(steps, 'update')}. To go further give it more"
        " time with --budget, or a larger total with --steps or --epochs."
    )


@contextmanager
def corpus_kept(out: Path) -> Iterator[None]:
    """Puts the own corpus of an earlier run in `out` back where a new run is not begun within.

    Where the process is killed within, `held` does it the next time.
    """
    own, kept, part = out / OWN_CORPUS, out / KEPT_NAME, out / f".{OWN_CORPUS}.part.tmp"
    if not own.exists():
        yield
        return
    shutil.rmtree(part, ignore_errors=True)
    try:
        # Whatever takes its place has files of its own, so that these are left as they are.
        shutil.copytree(own, part, copy_function=_link)
        part.replace(kept)
        yield
        kept.replace(part)
    finally:
        _put_back(out)
        shutil.rmtree(part, ignore_errors=True)


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # a file system that has no links
        shutil.copy2(source, target)


def _put_back(out: Path) -> None:
    if (out / KEPT_NAME).exists():
        shutil.rmtree(out / OWN_CORPUS, ignore_errors=True)
        (out / KEPT_NAME).replace(out / OWN_CORPUS)


@contextmanager
def held(out: Path) -> Iterator[None]:
    """Keeps other processes from training in `out`; a new directory that stays empty is removed.

    Raises TrainingError where another one is at it.
    """
    new = not out.exists()
    taken = TrainingError(
        f"another process is training in {out}; wait for it, or choose another name."
    )

    def remove() -> None:
        if new:
            with suppress(OSError):
                out.rmdir()

    with undone(remove), atomic.locked(out, taken):
        atomic.clear_away(out, (LAST_NAME, MODEL_NAME, SEEDS_NAME))
        _put_back(out)
        yield


def begun_by(out: Path, job: int | None) -> bool:
    """Whether what lies in `out` is what that job of several ranks made before it was lost."""
    try:
        return job is not None and (out / JOB_NAME).read_text(encoding="ascii") == str(job)
    except (OSError, ValueError):
        return False


@contextmanager
def begun(out: Path, job: int | None) -> Iterator[None]:
    """While it is entered, and after it was killed in there, `out` is what `job` has begun."""
    if job is not None:
        (out / JOB_NAME).write_text(str(job), encoding="ascii")
    try:
        yield
    finally:
        (out / JOB_NAME).unlink(missing_ok=True)


def clear(out: Path, keep: tuple[Path, ...] = ()) -> None:
    """Removes an earlier run in `out`, but for its own corpus and the runs in `keep`.

    Nor does what was begun of an own corpus stay, as the new run has one.
    """
    shutil.rmtree(workplace.place(out / OWN_CORPUS), ignore_errors=True)
    if (out / SEEDS_NAME).exists():
        with suppress(DataError):  # a damaged list names no runs
            for run in seeds(out).values():
                if run not in keep:
                    shutil.rmtree(run, ignore_errors=True)
    for name in (SEEDS_NAME, LAST_NAME, MODEL_NAME, LOG_NAME):
        (out / name).unlink(missing_ok=True)


def seed_runs(out: Path, seeds: list[int]) -> dict[int, Path]:
    """Where the run of each seed lies."""
    return {seed: out / f"seed-{seed}" for seed in seeds}


def seeds(out: Path) -> dict[int, Path]:
    """The runs in `out`, a run of several seeds, by seed."""
    path = out / SEEDS_NAME
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(found, list) and all(type(seed) is int for seed in found):
            return seed_runs(out, found)
    except ValueError:
        pass
    raise DataError(f"{path} is damaged; go on with each of the runs in {out} by itself.")


def write_seeds(out: Path, seeds: list[int]) -> None:
    """Makes `out` a run of several seeds."""
    with atomic.whole_file(out / SEEDS_NAME) as temporary:
        temporary.write_text(json.dumps(seeds) + "\n", encoding="utf-8")

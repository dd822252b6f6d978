"""The corpus of a run, and whether the run can go on with it.

Nothing here needs torch, which takes seconds to load, but for a corpus in the ids of a model.
"""

import shlex
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from charlm import model_file
from charlm.config import PrepConfig
from charlm.corpus import Corpus, join, prepare
from charlm.directories import LAST_NAME
from charlm.errors import DataError
from charlm.model_file import Model
from charlm.training.directory import OWN_CORPUS, check_last


def check_corpus(corpus: Corpus, *, several: bool) -> None:
    """Raises DataError where the corpus has nothing to learn, or to choose the best of several."""
    if not corpus.size("train").tokens:
        raise DataError(f"{corpus.path} has no training text; prepare it from more text.")
    if several and not corpus.size("val").tokens:
        raise DataError(
            f"{corpus.path} has no validation text to tell the best of several seeds by; prepare it"
            " with --val, or leave --seeds out."
        )


def has_ended(out: Path) -> bool:
    """Whether the run saved in `out` has come to its end."""
    run = saved(out).get("run")
    return isinstance(run, dict) and run.get("finished") is True


def saved(out: Path) -> dict[str, Any]:
    """What going on with the run in `out` needs, but for its tensors."""
    last = out / LAST_NAME
    check_last(last)
    return model_file.read_tensors(last, "charlm_run", tensors=False)[0]


def corpus_to_resume(out: Path, given: Path | None, last: Path, hash: str) -> Corpus:
    """The corpus of the run in `out`, `given` or where it lay `last`; `hash` is its hash.

    Raises DataError where there is none, or another one.
    """
    path = corpus_of(out, last, hash) if given is None else given
    if path is None:
        raise DataError(
            f"{last}, the corpus of {out}, is not there any more."
            f" Say where it is: charlm train CORPUS --resume {shlex.quote(str(out))}"
        )
    corpus = Corpus(path)
    if corpus.hash != hash:
        raise DataError(
            f"{corpus.path} is not the corpus that {out} was trained on, or has changed since."
            " Name the right one, or begin a new run."
        )
    return corpus


def corpus_for(
    paths: Sequence[Path], out: Path, model: Model | None, say: Callable[[str], None]
) -> Corpus:
    """The corpus in `paths`, or one made of the text there; in the ids of `model`, if there is one.

    Several corpora are joined. One that has to be made becomes a part of the run `out`.
    """
    own, path = out / OWN_CORPUS, paths[0]
    if path.is_dir():
        corpora = [Corpus(path) for path in paths]
        if len(paths) > 1:
            say(f"joining {len(paths)} corpora into {own}")
        corpus = join(corpora, own, force=True) if len(paths) > 1 else corpora[0]
        if model is None:
            return corpus
        from charlm.training.fine_tuning import fitted  # which takes torch, and that a while

        return fitted(corpus, model, own, say)
    say(f"{'stdin' if str(path) == '-' else path} is text: preparing it into {own}")
    if model is None:
        return prepare([path], own, PrepConfig(), force=True, say=say)
    config = PrepConfig(records=model.records)
    return prepare([path], own, config, tokenizer=model.tokenizer, grow=True, force=True, say=say)


def corpus_of(out: Path, last: Path, hash: str) -> Path | None:
    """Where the corpus of the run in `out` lies, None where it is nowhere to be found.

    `last` is where it lay when it was trained on, and is given, too, if it is another one by now;
    `hash` is the corpus's.
    """
    if last.exists():
        return last
    # A run that was moved takes its own corpus along, which several seeds have beside them.
    for place in (out / OWN_CORPUS, out.resolve().parent / OWN_CORPUS):
        with suppress(DataError):
            if Corpus(place).hash == hash:
                return place
    return None

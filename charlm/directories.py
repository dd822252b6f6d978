"""The names by which one sees what a directory is, a run or a corpus, without reading any of it.

Nothing here takes a package, so that what a look at the disk says against a command is said before
those that take a while to load.
"""

from pathlib import Path

from charlm.errors import DataError

MODEL_NAME = "model.safetensors"  # the best model of a run
LAST_NAME = "last.safetensors"  # what going on with a run needs
LOG_NAME = "log.jsonl"
SEEDS_NAME = "seeds.json"  # of a run of several seeds
CORPUS_NAME = "corpus.json"


def check_is_corpus(path: Path) -> None:
    """Raises DataError where no corpus is in `path`."""
    if not (path / CORPUS_NAME).exists():
        raise DataError(
            f"{path} is not a corpus (it holds no {CORPUS_NAME}); `charlm prep FILE -o DIR` makes"
            " one."
        )

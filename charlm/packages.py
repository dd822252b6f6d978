"""The packages that only some features take, and what is said where one of them is missing."""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager

from charlm.errors import ConfigError

# By the name that is imported: what takes it, and what to install for that.
OPTIONAL = {
    "torch": ("training, report, --adapt, --gradient and every --device but cpu", "torch"),
    "constriction": ("compress and decompress", "constriction"),
    "outlines_core": ("--match", "outlines-core"),
    "pydivsufsort": ("--index of prep", "pydivsufsort"),
    "plotext": ("a plot in the terminal", "plotext"),
    "matplotlib": ("a plot as a picture", "matplotlib"),
    "onnx": ("--to onnx", "onnx"),
    "tensorboard": ("--tensorboard", "tensorboard"),
    "starlette": ("serve", "starlette uvicorn"),
    "uvicorn": ("serve", "starlette uvicorn"),
}


class MissingPackageError(ConfigError):
    """A package that a feature takes is not installed."""

    def __init__(self, name: str) -> None:
        feature, packages = OPTIONAL[name]
        super().__init__(f"{name}, needed for {feature}, is not installed: pip install {packages}")


@contextmanager
def missing_packages_named() -> Iterator[None]:
    """Raises MissingPackageError where an import of the block lacks one of `OPTIONAL`."""
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name not in OPTIONAL:
            raise
        raise MissingPackageError(error.name) from error


def require(name: str) -> None:
    """Imports the package `name`, of which no use is made yet. Raises MissingPackageError."""
    with missing_packages_named():
        importlib.import_module(name)

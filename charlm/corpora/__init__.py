"""The named corpora: what each is, and its text as a stream of bytes.

The data is a TOML file with one table per corpus, `corpora/manifest.toml` in a checkout and
`charlm/corpora.toml` in an installed wheel. Three kinds: embedded in every Python, generated, and
downloaded once into a cache.
"""

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from charlm.corpora import download, embedded
from charlm.corpora.markov import Chain
from charlm.errors import ConfigError

_PACKAGE = Path(__file__).parents[1]
_INSTALLED = _PACKAGE / "corpora.toml"
MANIFEST = _INSTALLED if _INSTALLED.exists() else _PACKAGE.parent / "corpora" / "manifest.toml"


@dataclass(frozen=True)
class Entry:
    """What is known of one corpus; `size_bytes` is approximate for an embedded one.

    A downloaded corpus has `url` and `sha256` (of the file as served) and, when that file is a zip
    archive, the `members` that make the text, in order. A generated one has its `chain`.
    """

    name: str
    title: str
    kind: str
    size_bytes: int
    licence: str
    url: str | None = None
    sha256: str | None = None
    members: tuple[str, ...] = ()
    chain: Chain | None = None

    def entropy_bits_per_char(self) -> float | None:
        """The true entropy rate of the text, None where nobody knows it."""
        return self.chain.entropy_bits_per_char() if self.chain else None


def entries() -> dict[str, Entry]:
    """Every corpus by its name, in the manifest's order."""
    tables = tomllib.loads(MANIFEST.read_text(encoding="utf-8"))
    return {name: _entry(name, table) for name, table in tables.items()}


def names() -> list[str]:
    """The names of all corpora, in the manifest's order."""
    return list(entries())


def describe(name: str) -> Entry:
    """The corpus `name`. Raises ConfigError, with the names there are, where there is no such."""
    known = entries()
    if name not in known:
        raise ConfigError(f"There is no corpus {name!r}; the corpora are {', '.join(known)}.")
    return known[name]


def open_text(entry: Entry) -> Iterator[bytes]:
    """The text of a corpus in chunks, in constant memory; a download happens before it returns.

    Raises DataError where the text cannot be had.
    """
    if entry.chain:
        return entry.chain.text()
    if entry.url:
        path = download.fetch(entry.name, entry.url, entry.sha256)
        return download.unpack(path, entry.members) if entry.members else download.read(path)
    return embedded.SOURCES[entry.name]()


def _entry(name: str, table: dict) -> Entry:
    chain = Chain(**table.pop("chain")) if "chain" in table else None
    return Entry(name=name, members=tuple(table.pop("members", ())), chain=chain, **table)

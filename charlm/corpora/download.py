"""Corpora from the network: fetched once, checked against their sha256, kept in a cache.

The cache is the platform's own directory for such files, or what CHARLM_CACHE names. A file put
there by hand under the right name is as good as a download.
"""

import os
import zipfile
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from charlm import __version__
from charlm.errors import DataError

CHUNK_BYTES = 1 << 16
TIMEOUTS_S = (10, 60)  # to be connected; then for each next byte
# A mirror refuses the names that HTTP libraries give themselves. Unencoded, the progress is true.
HEADERS = {"User-Agent": f"charlm/{__version__}", "Accept-Encoding": "identity"}


def cache_directory() -> Path:
    """Where downloads are kept; it need not exist yet."""
    import pooch

    return Path(os.environ.get("CHARLM_CACHE") or pooch.os_cache("charlm")).expanduser()


def fetch(name: str, url: str, sha256: str) -> Path:
    """The cached file with this checksum, downloaded when it is missing or damaged.

    Raises DataError where it cannot be had; then nothing new is left in the cache.
    """
    import pooch

    path = cache_directory() / (name + Path(urlsplit(url).path).suffix)
    pooch.get_logger().setLevel("WARNING")  # the progress bar tells what its messages would

    def downloader(url: str, temporary: str, _: object) -> None:
        problem = _download(name, url, Path(temporary))
        if problem:
            raise DataError(
                f"{name} could not be downloaded from {url}: {problem}. Try again later, or put"
                f" that file at {path} yourself."
            )

    try:
        pooch.retrieve(url, sha256, fname=path.name, path=path.parent, downloader=downloader)
    except ValueError:
        raise DataError(
            f"{name} was downloaded from {url}, but is not the file it should be: its sha256 is"
            f" not {sha256}. Try again later, or put the right file at {path} yourself."
        ) from None
    except OSError as error:
        raise DataError(
            f"{path.parent} cannot be used as the cache: {error.strerror or error}. Put that right,"
            " or let CHARLM_CACHE name a directory that can be written."
        ) from None
    return path


def read(path: Path) -> Iterator[bytes]:
    """The bytes of a file, in chunks."""
    with path.open("rb") as file:
        yield from iter(partial(file.read, CHUNK_BYTES), b"")


def unpack(path: Path, members: tuple[str, ...]) -> Iterator[bytes]:
    """The bytes of these members of a zip archive one after the other, in chunks.

    Raises DataError where the archive is damaged or has no such member.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for member in members:
                with archive.open(member) as file:
                    yield from iter(partial(file.read, CHUNK_BYTES), b"")
    except (zipfile.BadZipFile, zlib.error, EOFError, KeyError) as error:
        raise DataError(
            f"{path} cannot be unpacked: {error.args[0]}. Delete it, so that it is downloaded anew."
        ) from None


def _download(name: str, url: str, path: Path) -> str | None:
    """Writes what `url` serves to `path`; what went wrong, in words, or None."""
    import pooch
    from tqdm import tqdm

    # The total is pooch's to set once the server has answered, so the bar waits for it (delay); a
    # bar without one pooch would not take. disable=None: no bar where stderr is not a terminal.
    bar = tqdm(desc=name, total=1, delay=1e-9, unit="B", unit_scale=True, leave=False, disable=None)
    with bar:
        download = pooch.HTTPDownloader(bar, CHUNK_BYTES, headers=HEADERS, timeout=TIMEOUTS_S)
        try:
            download(url, path, None)
        except OSError as error:
            if error.errno is not None:  # the disk's; those of the transfer carry no number
                raise
            response = getattr(error, "response", None)
            if response is not None:
                return f"the server answered {response.status_code} {response.reason}"
            if received := path.stat().st_size:
                return f"the transfer broke off after {received} bytes"
            return f"no answer from {urlsplit(url).netloc} ({type(error).__name__})"
    return None

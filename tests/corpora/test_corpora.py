"""The named corpora; every download is from a server on loopback."""

import builtins
import hashlib
import io
import random
import re
import socket
import threading
import zipfile
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from charlm import corpora
from charlm.corpora import download, embedded
from charlm.errors import ConfigError, DataError

TEXT = b"To be, or not to be, that is the question.\n" * 5000  # more than one chunk


# The manifest


def test_every_entry_is_complete():
    for name, entry in corpora.entries().items():
        assert re.fullmatch(r"[a-z0-9-]+", name)
        assert entry.title
        assert entry.licence
        assert entry.size_bytes > 0
        if entry.kind == "downloaded":
            assert entry.url.startswith("https://")
            assert re.fullmatch(r"[0-9a-f]{64}", entry.sha256)
            assert entry.url.endswith(".zip") == bool(entry.members)
        elif entry.kind == "generated":
            assert entry.size_bytes == entry.chain.length
        else:
            assert entry.kind == "embedded"
            assert name in embedded.SOURCES


def test_unknown_name_lists_the_names():
    with pytest.raises(ConfigError, match=r"'shakespear'.*python-docs.*tiny-shakespeare.*text8"):
        corpora.describe("shakespear")


# Embedded


@pytest.mark.parametrize("name", embedded.SOURCES)
def test_embedded_text_is_utf8_of_about_the_stated_size(name):
    entry = corpora.describe(name)
    text = b"".join(corpora.open_text(entry)).decode()
    assert len(text) > entry.size_bytes / 2
    assert text == b"".join(corpora.open_text(entry)).decode()


def test_python_docs_are_topics_in_order():
    from pydoc_data.topics import topics

    pages = list(embedded.python_docs())
    assert len(pages) == len(topics)
    assert pages[0].decode().strip("\n") == topics[min(topics)].strip("\n")
    assert all(re.search(rb"[^\n]\n\n\Z", page) for page in pages)


def test_python_without_docs_is_a_data_error(monkeypatch):
    real = builtins.__import__

    def without_topics(name, *rest, **named):
        if name == "pydoc_data.topics":
            raise ImportError(name)
        return real(name, *rest, **named)

    monkeypatch.setattr(builtins, "__import__", without_topics)
    with pytest.raises(DataError, match=r"pydoc_data\.topics"):
        embedded.python_docs()


def test_python_source_leaves_out_what_is_not_the_library(tmp_path):
    kept = {"b.py": b"b\n", "a/z.py": b"az\n", "a.py": b"a\n"}
    left_out = {
        "test/test_b.py": b"no\n",
        "a/tests/c.py": b"no\n",
        "idlelib/idle_test/c.py": b"no\n",
        "site-packages/numpy/c.py": b"no\n",
        "a/latin.py": b"\xe9\n",
        "notes.txt": b"no\n",
    }
    for name, text in (kept | left_out).items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text)
    assert list(embedded.python_source(tmp_path)) == [b"a\n", b"az\n", b"b\n"]


@pytest.mark.parametrize("root", ["python311.zip", "compiled"])
def test_python_without_source_is_a_data_error(tmp_path, root):
    """A standard library in a zip archive has no directory; a stripped one has no .py files."""
    (tmp_path / "compiled").mkdir()
    (tmp_path / "compiled" / "os.pyc").write_bytes(b"")
    with pytest.raises(DataError, match=f"{root} has no source"):
        embedded.python_source(tmp_path / root)


# Downloaded


class Handler(BaseHTTPRequestHandler):
    """Serves what the test put into `server.answers`, and counts."""

    def do_GET(self):
        self.server.requests += 1
        answer = self.server.answers.get(self.path)
        if answer is None:
            self.send_error(404)
            return
        body, promised_bytes = answer
        self.send_response(200)
        self.send_header("Content-Length", str(promised_bytes))
        self.end_headers()
        self.wfile.write(body)
        if promised_bytes > len(body) and self.path == "/stalls":
            assert self.server.released.wait(60), "nobody gave it up"

    def log_message(self, *_):
        pass


@pytest.fixture
def server(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.answers, server.requests, server.released = {}, 0, threading.Event()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.released.set()
        server.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def _entry(server, path, served, *, arrives=None, **changes):
    """A corpus that the server has at `path`; of `served` only the first `arrives` bytes come."""
    server.answers[path] = (served[:arrives], len(served))
    return replace(
        corpora.describe("tiny-shakespeare"),
        url=f"http://127.0.0.1:{server.server_port}{path}",
        sha256=hashlib.sha256(served).hexdigest(),
        **changes,
    )


def _zipped(**members):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return buffer.getvalue()


def _refused(entry, cache):
    """The message of the DataError; nothing may be left behind."""
    with pytest.raises(DataError) as caught:
        b"".join(corpora.open_text(entry))
    message = str(caught.value)
    assert "\n" not in message
    assert not cache.exists() or not list(cache.iterdir())
    return message


def test_a_download_is_kept(server, cache, capfd):
    entry = _entry(server, "/input.txt", TEXT)
    assert b"".join(corpora.open_text(entry)) == TEXT
    assert b"".join(corpora.open_text(entry)) == TEXT
    assert server.requests == 1
    assert [path.name for path in cache.iterdir()] == ["tiny-shakespeare.txt"]
    assert capfd.readouterr() == ("", "")  # no terminal, no progress


def test_members_of_an_archive_come_in_the_order_of_the_manifest(server, cache):
    archive = _zipped(test=b"3\n", other=b"no\n", train=TEXT, valid=b"2\n")
    entry = _entry(server, "/a.zip", archive, members=("train", "valid", "test"))
    assert b"".join(corpora.open_text(entry)) == TEXT + b"2\n3\n"
    assert [path.name for path in cache.iterdir()] == ["tiny-shakespeare.zip"]


def test_a_damaged_file_in_the_cache_is_fetched_again(server, cache):
    cache.mkdir()
    (cache / "tiny-shakespeare.txt").write_bytes(TEXT[:-1] + b"?")
    assert b"".join(corpora.open_text(_entry(server, "/input.txt", TEXT))) == TEXT
    assert (cache / "tiny-shakespeare.txt").read_bytes() == TEXT


def test_a_file_put_into_the_cache_by_hand_needs_no_network(server, cache):
    entry = replace(_entry(server, "/input.txt", TEXT), url=_nobody() + "/input.txt")
    cache.mkdir()
    (cache / "tiny-shakespeare.txt").write_bytes(TEXT)
    assert b"".join(corpora.open_text(entry)) == TEXT


def test_wrong_bytes_are_refused(server, cache):
    entry = replace(_entry(server, "/input.txt", TEXT), sha256="0" * 64)
    assert "its sha256 is not 0000" in _refused(entry, cache)


def test_a_transfer_cut_off_is_refused(server, cache):
    entry = _entry(server, "/input.txt", TEXT, arrives=100_000)
    assert re.search(r"the transfer broke off after \d+ bytes", _refused(entry, cache))


def test_a_server_that_stalls_is_given_up(server, cache, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUTS_S", (5, 0.1))
    assert "broke off" in _refused(_entry(server, "/stalls", TEXT, arrives=100_000), cache)
    assert not server.released.is_set()  # it would have gone on waiting


def test_an_http_error_is_told(server, cache):
    entry = _entry(server, "/input.txt", TEXT)
    message = _refused(replace(entry, url=entry.url + ".old"), cache)
    assert "the server answered 404 Not Found" in message
    assert f"put that file at {cache}/tiny-shakespeare.old" in message


def test_no_network_is_told(server, cache):
    entry = replace(_entry(server, "/input.txt", TEXT), url=_nobody() + "/input.txt")
    assert "no answer from 127.0.0.1" in _refused(entry, cache)


def test_a_cache_that_cannot_be_is_told(server, tmp_path, monkeypatch):
    (tmp_path / "file").write_bytes(b"")
    monkeypatch.setenv("CHARLM_CACHE", str(tmp_path / "file"))
    with pytest.raises(DataError, match=r"file cannot be used as the cache: .*CHARLM_CACHE"):
        corpora.open_text(_entry(server, "/input.txt", TEXT))


def _nobody():
    """The address of a port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _flipped(archive):
    """The archive with one bit of its compressed text changed."""
    middle = archive.index(b"text") + 40
    return archive[:middle] + bytes([archive[middle] ^ 1]) + archive[middle + 1 :]


RANDOM = random.Random(0).randbytes(200_000)  # does not compress: most of the archive is text
DAMAGED = {
    "cut off": _zipped(text=RANDOM)[:-50],
    "no archive": TEXT,
    "one bit": _flipped(_zipped(text=RANDOM)),
    "compressed wrongly": _flipped(_zipped(text=TEXT)),
    "member missing": _zipped(something=TEXT),
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_archive_is_told(server, cache, damage):
    entry = _entry(server, "/a.zip", DAMAGED[damage], members=("text",))
    with pytest.raises(DataError, match=r"cannot be unpacked: .*Delete it"):
        b"".join(corpora.open_text(entry))


def test_without_a_variable_the_cache_is_the_platforms(monkeypatch):
    monkeypatch.delenv("CHARLM_CACHE", raising=False)
    assert download.cache_directory().name == "charlm"

"""`charlm corpus` as a user meets it: a process with stdout, stderr and an exit status."""

import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from functools import partial

import pytest
from support.commands import forked

from charlm import corpora


def run(*arguments, command=None, **environment):
    """The finished process, its stdout as bytes and its stderr as text."""
    result = subprocess.run(
        [*(command or forked()), *arguments],
        capture_output=True,
        env=os.environ | environment,
        timeout=60,
    )
    result.stderr = result.stderr.decode()
    return result


def test_list_is_an_aligned_table():
    result = run("corpus", "list")
    assert (result.returncode, result.stderr) == (0, "")
    header, *rows = result.stdout.decode().splitlines()
    assert [row.split()[0] for row in rows] == corpora.names()
    for row in rows:
        entry = corpora.describe(row.split()[0])
        assert row.index(entry.kind) == header.index("KIND")
        assert row.index(entry.title) == header.index("TITLE")
    entropy = corpora.describe("markov").entropy_bits_per_char()
    assert result.stdout.decode().count(f"true entropy {entropy:.6f} bits/char") == 1


def test_list_json_is_one_object_a_line():
    result = run("corpus", "list", "--json")
    assert (result.returncode, result.stderr) == (0, "")
    objects = {item["name"]: item for item in map(json.loads, result.stdout.splitlines())}
    assert list(objects) == corpora.names()
    for name, item in objects.items():
        entry = corpora.describe(name)
        assert item["sha256"] == entry.sha256
        assert item["size_bytes"] == entry.size_bytes
        assert item["entropy_bits_per_char"] == entry.entropy_bits_per_char()


@pytest.mark.parametrize("name", ["python-docs", "python-source", "markov"])
def test_cat_writes_the_text_and_nothing_else(name):
    result = run("corpus", "cat", name)
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == b"".join(corpora.open_text(corpora.describe(name)))


@pytest.mark.parametrize("arguments", [("cat", "python-source"), ("cat", "markov"), ("list",)])
@pytest.mark.parametrize("wanted_bytes", [0, 100])
def test_a_reader_that_goes_away_ends_it_quietly(arguments, wanted_bytes):
    with subprocess.Popen(
        [*forked(), "corpus", *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert len(process.stdout.read(wanted_bytes)) == wanted_bytes
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


def test_an_unknown_name_is_told_in_one_line():
    result = run("corpus", "cat", "shakespeare")
    assert (result.returncode, result.stdout) == (1, b"")
    assert result.stderr.startswith("charlm: There is no corpus 'shakespeare'")
    assert "tiny-shakespeare" in result.stderr
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(
    "arguments", [("cat",), ("cat", "markov", "more"), ("dog",), ("list", "x")]
)
def test_wrong_usage_is_status_2(arguments):
    result = run("corpus", *arguments)
    assert (result.returncode, result.stdout) == (2, b"")
    assert "Usage:" in result.stderr


def test_no_network_is_told_in_one_line(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        nobody = f"http://127.0.0.1:{listener.getsockname()[1]}"
    environment = {"CHARLM_CACHE": str(tmp_path), "NO_PROXY": "", "no_proxy": ""}
    # Through a proxy that is not there, no machine can reach the true server.
    environment |= dict.fromkeys(("HTTPS_PROXY", "https_proxy"), nobody)
    result = run("corpus", "cat", "tiny-shakespeare", **environment)
    assert (result.returncode, result.stdout) == (1, b"")
    assert "could not be downloaded" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_download_goes_to_stdout_and_into_the_cache(tmp_path):
    text = b"All the world's a stage.\n" * 10_000
    served, cache = tmp_path / "served", tmp_path / "cache"
    served.mkdir()
    (served / "play.txt").write_bytes(text)
    with http.server.HTTPServer(("127.0.0.1", 0), partial(Quiet, directory=served)) as server:
        manifest = tmp_path / "manifest.toml"
        manifest.write_text(f"""
            [play]
            title = "A play"
            kind = "downloaded"
            size_bytes = {len(text)}
            licence = "public domain"
            url = "http://127.0.0.1:{server.server_port}/play.txt"
            sha256 = "{hashlib.sha256(text).hexdigest()}"
        """)
        command = [sys.executable, "-c", WITH_MANIFEST, str(manifest)]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        environment = {"CHARLM_CACHE": str(cache), "NO_PROXY": "127.0.0.1"}
        result = run("corpus", "cat", "play", command=command, **environment)
        server.shutdown()
        thread.join()
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == text
    assert (cache / "play.txt").read_bytes() == text


# The command line with a manifest of the test's own, which no option or variable can name.
WITH_MANIFEST = """
import pathlib, sys
from charlm import cli, corpora
corpora.MANIFEST = pathlib.Path(sys.argv[1])
sys.exit(cli.main(sys.argv[2:]))
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    """A server of files that does not log."""

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("arguments", [(), ("list",), ("cat",)])
def test_help_shows_an_example(arguments):
    result = run("corpus", *arguments, "--help")
    assert (result.returncode, result.stderr) == (0, "")
    assert "  charlm corpus " in result.stdout.decode()


def test_the_command_imports_nothing_heavy():
    code = "import sys, charlm.cli.corpus, charlm.corpora; print(*sys.modules)"
    result = run("-c", code, command=[sys.executable])
    assert not {"numpy", "pooch", "requests", "tqdm", "torch"} & set(result.stdout.decode().split())

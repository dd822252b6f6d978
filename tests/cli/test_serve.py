"""`charlm serve` through real processes and OpenAI's client."""

import concurrent.futures
import contextlib
import json
import math
import os
import random
import re
import resource
import select
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.paths import README as README_PATH
from support.serving import PATIENCE_S, serving

from bench.malformed import LARGEST_BODY, answer, harm, malformed, post
from charlm.serving.limits import CONNECTIONS

openai = pytest.importorskip("openai")
pytest.importorskip("starlette")
pytest.importorskip("uvicorn")

PART_TOKENS = 512  # of an event
README = README_PATH.read_text(encoding="utf-8")
TEXT = "what say you to that, my lord?"


@pytest.fixture(scope="module")
def server(model, names_model, tmp_path_factory):
    """A server of the models "run" (of running text) and "names" (of records)."""
    names = tmp_path_factory.mktemp("served") / "names"
    names.symlink_to(names_model)
    with serving(model, names / "model.safetensors", "--max-body", LARGEST_BODY) as served:
        yield served


@pytest.fixture
def client(server):
    with openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
        yield client


def sampled(charlm, model, *args):
    done = charlm("sample", model, "--no-echo", "--json", *args)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["text"] for line in done.stdout.decode().splitlines()]


def scored(charlm, model, text):
    done = charlm("score", model, "--json", stdin=text)
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["bits"] for line in done.stdout.decode().splitlines()]


def test_models_are_listed(client):
    assert [card.id for card in client.models.list()] == ["run", "names"]
    card = client.models.retrieve("names")
    assert (card.id, card.object, card.owned_by) == ("names", "model", "charlm")
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("nothing")


@pytest.mark.parametrize(
    ("knobs", "options"),
    [
        ({}, []),
        ({"temperature": 0.6, "top_p": 0.9}, ["--temperature", 0.6, "--top-p", 0.9]),
        ({"temperature": 0}, ["--greedy"]),
    ],
)
def test_a_completion_is_what_sample_writes(charlm, client, model, knobs, options):
    found = client.completions.create(
        model="run", prompt="the king", max_tokens=60, seed=4, n=3, **knobs
    )
    texts = [choice.text for choice in sorted(found.choices, key=lambda choice: choice.index)]
    args = ("--prompt", "the king", "--length", 60, "--seed", 4, "-n", 3, *options)
    assert texts == sampled(charlm, model, *args)
    assert {choice.finish_reason for choice in found.choices} == {"length"}
    assert (found.usage.prompt_tokens, found.usage.completion_tokens) == (8, 180)


def test_without_a_prompt_it_begins_as_sample_does(charlm, client, model):
    found = client.completions.create(model="run", prompt="", max_tokens=40, seed=2)
    assert [found.choices[0].text] == sampled(charlm, model, "--length", 40, "--seed", 2)


def test_a_record_ends_a_completion(charlm, client, names_model):
    found = client.completions.create(model="names", prompt="a", max_tokens=200, seed=3)
    assert found.choices[0].finish_reason == "stop"
    args = ("--prompt", "a", "--seed", 3, "--length", 200)
    assert [found.choices[0].text] == sampled(charlm, names_model, *args)


def test_a_stream_adds_up_to_the_completion(client):
    asked = {"model": "run", "prompt": ["the", "what"], "max_tokens": 50, "seed": 9, "n": 2}
    asked |= {"logprobs": 2, "echo": True}
    whole = client.completions.create(**asked)
    usage = {"include_usage": True}
    pieces = list(client.completions.create(**asked, stream=True, stream_options=usage))
    assert pieces[-1].usage == whole.usage
    assert len(pieces) > 5
    for choice in whole.choices:
        mine = [one.choices[0] for one in pieces[:-1] if one.choices[0].index == choice.index]
        assert "".join(one.text for one in mine) == choice.text
        assert [one.finish_reason for one in mine[:-1]] == [None] * (len(mine) - 1)
        assert mine[-1].finish_reason == choice.finish_reason
        for name in ("tokens", "token_logprobs", "text_offset", "top_logprobs"):
            told = [value for one in mine for value in getattr(one.logprobs, name)]
            if name in ("tokens", "text_offset"):
                assert told == getattr(choice.logprobs, name)
            elif name == "token_logprobs":
                assert told == pytest.approx(getattr(choice.logprobs, name), abs=1e-5)
            else:
                assert len(told) == len(choice.logprobs.tokens)


def test_text_k_of_a_request_is_sample_k_of_its_prompt(charlm, client, model):
    asked = {"model": "run", "max_tokens": 30, "seed": 5, "n": 2}
    prompts = ["the night", "what say", "the night"]
    found = client.completions.create(prompt=prompts, **asked)
    for choice in found.choices:
        prompt = prompts[choice.index // 2]
        args = ("--prompt", prompt, "--length", 30, "--seed", 5, "--only", choice.index)
        assert [choice.text] == sampled(charlm, model, *args)
    texts = [choice.text for choice in found.choices]
    assert len(set(texts)) == len(texts)


@pytest.mark.parametrize("name", ["run", "names"])
def test_echo_without_drawing_scores_what_score_says(charlm, client, model, names_model, name):
    lines = [TEXT, "the king"] if name == "run" else ["anna", "gustav"]
    prompts = [f"{line}\n" for line in lines]
    found = client.completions.create(
        model=name, prompt=prompts, max_tokens=0, echo=True, logprobs=1
    )
    bits = scored(charlm, {"run": model, "names": names_model}[name], "".join(prompts))
    for choice, prompt, wanted in zip(found.choices, prompts, bits, strict=True):
        assert choice.text == prompt
        assert len(choice.logprobs.tokens) == len(prompt)
        assert -sum(choice.logprobs.token_logprobs) / math.log(2) == pytest.approx(wanted, rel=1e-6)


def test_a_text_scores_what_its_parts_were_told_to_cost(client):
    drawn = client.completions.create(
        model="run", prompt="the", max_tokens=30, seed=1, logprobs=0, echo=True
    )
    told = drawn.choices[0].logprobs
    assert "".join(told.tokens) == drawn.choices[0].text
    assert [drawn.choices[0].text[at] for at in told.text_offset] == told.tokens
    again = client.completions.create(
        model="run", prompt=drawn.choices[0].text, max_tokens=1, logprobs=0, echo=True
    )
    assert again.choices[0].logprobs.token_logprobs[:-1] == pytest.approx(
        told.token_logprobs, abs=1e-5
    )


def test_alternatives_are_the_likeliest_and_the_one_that_came(client):
    found = client.completions.create(
        model="run", prompt="th", max_tokens=40, seed=6, logprobs=20, temperature=0
    ).choices[0]
    for token, cost, top in zip(
        found.logprobs.tokens, found.logprobs.token_logprobs, found.logprobs.top_logprobs,
        strict=True,
    ):  # fmt: skip
        assert top[token] == cost == max(top.values())
        assert len(top) == 20
        assert 0.9 < sum(map(math.exp, top.values())) < 1 + 1e-9


def test_a_stop_ends_a_text_before_it(client):
    asked = {"model": "run", "prompt": "the", "max_tokens": 300, "seed": 1, "logprobs": 0}
    whole = client.completions.create(**asked).choices[0]
    found = client.completions.create(**asked, stop=[", m", "\n"]).choices[0]
    end = min(at for at in (whole.text.find(", m"), whole.text.find("\n")) if at >= 0)
    assert (found.text, found.finish_reason) == (whole.text[:end], "stop")
    assert "".join(found.logprobs.tokens) == found.text
    pieces = client.completions.create(**asked, stop=[", m", "\n"], stream=True)
    assert "".join(piece.choices[0].text for piece in pieces) == found.text


def test_tokens_serve_as_a_prompt(client):
    with pytest.raises(openai.BadRequestError):
        client.completions.create(model="run", prompt=[1000], max_tokens=1)
    found = client.completions.create(model="run", prompt=[3, 4, 5], max_tokens=0, echo=True)
    assert len(found.choices[0].text) == 3


def test_what_one_gets_does_not_depend_on_the_others(server):
    """Many at once, each with knobs of its own, and each again alone."""
    rng = random.Random(0)
    asked = [
        {
            "model": rng.choice(["run", "run", "names"]),
            "prompt": rng.choice(["the ", "a", "what say you", ""]),
            "max_tokens": rng.randint(1, 120),
            "n": rng.randint(1, 4),
            "seed": rng.randrange(1000),
            "temperature": rng.choice([0, 0.5, 1, 1.3]),
            "top_p": rng.choice([0.7, 1]),
            "stop": rng.choice([None, "king", "t"]),
        }
        for _ in range(40)
    ]
    for one in asked:
        one["prompt"] = one["prompt"] if one["model"] == "run" else "a"

    def texts(one):
        status, found = server.complete(**one)
        assert status == 200, found
        return [choice["text"] for choice in found["choices"]]

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        together = list(pool.map(texts, asked))
    assert together == [texts(one) for one in asked]


def test_a_prompt_is_read_once(server):
    asked = {"model": "run", "prompt": f"{TEXT} {TEXT}", "max_tokens": 5, "seed": 1}
    first = server.complete(**asked)[1]["choices"]
    read, hits = (server.metric(f"charlm_{name}_total") for name in ("read_tokens", "prefix_hits"))
    assert server.complete(**asked)[1]["choices"] == first
    assert server.metric("charlm_read_tokens_total") == read
    assert server.metric("charlm_prefix_hits_total") == hits + 1
    longer = {**asked, "prompt": f"{asked['prompt']} the"}
    assert server.complete(**longer)[0] == 200
    assert server.metric("charlm_read_tokens_total") == read + 4


@settings(max_examples=400, derandomize=True, deadline=None, database=None)
@given(seed=st.integers(0, 2**32))
def test_a_malformed_request_is_refused(server, seed):
    assert harm(server.address, malformed(random.Random(seed), "run")) is None


def test_after_all_that_nothing_is_stuck(server):
    """It stands after the malformed requests."""
    assert server.complete(model="run", prompt="the", max_tokens=5)[0] == 200
    assert server.metric("charlm_rows") == server.metric("charlm_waiting") == 0
    assert json.loads(server.get("/healthz")[1]) == {"status": "ok"}
    assert 'code="5' not in server.get("/metrics")[1]


@pytest.mark.slow
def test_the_readmes_lines_work(server):
    part = README.split("### serve: ")[1].split("\n### ")[0]
    (line,) = re.findall(r"\$ (curl .*\n.*)\n", part)
    (code,) = re.findall(r"```python\n(.*?)```", part, re.DOTALL)
    commands = [[sys.executable, "-c", code.replace("http://127.0.0.1:8000", server.url)]]
    if shutil.which("curl"):
        commands.append(["bash", "-c", line.replace("http://127.0.0.1:8000", server.url)])
    for command in commands:
        command[-1] = command[-1].replace("To be", "the king")
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout) >= 80


def test_an_error_says_which_parameter(client):
    with pytest.raises(openai.BadRequestError) as caught:
        client.completions.create(model="run", prompt="the", temperature=3)
    assert caught.value.body["param"] == "temperature"
    assert "from 0 to 2" in caught.value.body["message"]
    with pytest.raises(openai.NotFoundError) as caught:
        client.completions.create(model="nothing", prompt="the")
    assert caught.value.body["code"] == "model_not_found"


def test_torch_is_not_loaded(server):
    maps = Path(f"/proc/{server.process.pid}/maps")
    if not maps.exists():
        pytest.skip("this system does not show what a process has loaded")
    loaded = maps.read_text()
    assert "numpy" in loaded
    assert "torch" not in loaded


def test_metrics_are_what_prometheus_reads(server):
    assert server.complete(model="run", prompt="the", max_tokens=7)[0] == 200
    status, page = server.get("/metrics")
    assert status == 200
    sample = re.compile(r'charlm_[a-z_]+(\{[a-z]+="[^"]*"\})? [\d.e+-]+')
    comment = re.compile(r"# (HELP|TYPE) charlm_[a-z_]+ .+")
    for line in page.splitlines():
        assert (comment if line.startswith("#") else sample).fullmatch(line), line
    buckets = [float(line.split()[-1]) for line in page.splitlines() if "_bucket{" in line]
    assert buckets == sorted(buckets)
    drawn = server.metric("charlm_drawn_tokens_total")
    assert server.complete(model="run", prompt="the", max_tokens=7, n=3)[0] == 200
    assert server.metric("charlm_drawn_tokens_total") == drawn + 21


def test_only_this_machine_is_served_without_a_token(server):
    """A page elsewhere may have its own name lead here, or send what needs no leave."""
    assert server.get("/v1/models", Host="example.org")[0] == 403
    assert server.get("/v1/models", Host="localhost:1234")[0] == 200
    assert server.get("/v1/models", Host="[::1]:80")[0] == 200
    body = json.dumps({"model": "run", "prompt": "a"}).encode()
    assert answer(server.address, post(body, Content_Type="text/plain"))[0] == 415


def test_a_token_is_asked_for(model):
    with serving(model, environment={"CHARLM_TOKEN": "secret"}) as served:
        for key, error in (("wrong", openai.AuthenticationError), ("secret", None)):
            with openai.OpenAI(base_url=f"{served.url}/v1", api_key=key, max_retries=0) as client:
                if error is None:
                    assert [card.id for card in client.models.list()] == ["run"]
                else:
                    with pytest.raises(error):
                        client.models.list()
        assert served.get("/metrics")[0] == 401
        assert served.get("/metrics", Authorization="Bearer secret")[0] == 200
        assert served.get("/healthz")[0] == served.get("/")[0] == 200
        # With a token any name will do: a proxy may stand before the server.
        assert served.get("/", Host="example.org")[0] == 200


def read_until(connection, words):
    """What comes until those words have come."""
    found = b""
    while words not in found:
        more = connection.recv(1000)
        assert more, found
        found += more
    return found


class Streaming:
    """A client that has begun to read a stream."""

    def __init__(self, served, **values):
        asked = {"model": "run", "prompt": "the", "stream": True, **values}
        self.connection = socket.create_connection(served.address, PATIENCE_S)
        self.connection.sendall(post(json.dumps(asked).encode()))
        self.found = read_until(self.connection, b"data: ")

    def rest(self):
        """All that it was sent."""
        while more := self.connection.recv(1 << 16):
            self.found += more
        self.connection.close()
        return self.found.decode()


ENDLESS = ("--max-tokens", 10_000_000, "--max-answer", 10_000_000)


def test_a_client_that_vanishes_frees_its_place(model):
    long = {"max_tokens": 1_000_000, "n": 2}
    endless = ("--max-tokens", 1_000_000, "--max-answer", 2_000_000, "--timeout", "1h")
    with serving(model, "--rows", 2, "--queue", 0, *endless) as served:
        for _ in range(2):
            client = Streaming(served, **long)
            status, refused = served.complete(model="run", prompt="a", max_tokens=1)
            assert (status, refused["error"]["code"]) == (429, "rate_limit_exceeded")
            client.connection.close()
            began = time.monotonic()
            while served.complete(model="run", prompt="a", max_tokens=1)[0] != 200:
                assert time.monotonic() - began < PATIENCE_S
        assert served.metric("charlm_rows") == 0


@pytest.mark.slow
def test_what_was_begun_is_finished_before_the_end(model):
    with serving(model, "--max-tokens", 30_000, "--drain", "60s") as served:
        client = Streaming(served, max_tokens=30_000, seed=1)
        served.process.send_signal(signal.SIGTERM)
        events = client.rest().split("\n\n")
        assert events[-2].endswith("data: [DONE]")
        pieces = [json.loads(one.partition("data: ")[2]) for one in events[:-2] if "data" in one]
        assert len("".join(one["choices"][0]["text"] for one in pieces)) == 30_000
        assert served.process.wait(PATIENCE_S) == 0
        assert b"finishing 1" in served.process.stderr.read()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(served.address)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_takes_too_long_is_cut_off_at_the_end(model, number):
    with serving(model, *ENDLESS, "--timeout", "1h", "--drain", "0.2s") as served:
        client = Streaming(served, max_tokens=10_000_000)
        status, said = served.end(number)
        assert "[DONE]" not in client.rest()
        assert status == 1
        assert said.splitlines()[-1].startswith("charlm: requests that were cut off")
        assert "Traceback" not in said


@pytest.mark.slow
def test_a_request_takes_no_longer_than_it_may(model):
    with serving(model, *ENDLESS, "--timeout", "3s") as served:
        asked = {"model": "run", "prompt": "the", "max_tokens": 10_000_000}
        status, found = served.complete(**asked)
        assert (status, found["error"]["code"]) == (408, "timeout")
        assert '"code":"timeout"' in Streaming(served, **asked).rest()
        half = post(json.dumps(asked).encode(), Content_Length="1000")
        assert answer(served.address, half)[0] == 408
        assert served.metric("charlm_rows") == 0


@pytest.mark.slow
@pytest.mark.parametrize("stream", [True, False])
def test_a_client_that_reads_nothing_is_cut_off(model, stream):
    """More than the buffers of both ends hold is on its way to it."""
    asked = {"model": "run", "prompt": "the king " * 200, "max_tokens": 0, "echo": True}
    body = json.dumps({**asked, "n": 12, "logprobs": 20, "stream": stream}).encode()
    with serving(model, "--timeout", "5s") as served:
        before = sockets(served)
        with socket.socket() as client:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.settimeout(PATIENCE_S)
            client.connect(served.address)
            client.sendall(post(body))
            assert client.recv(8) == b"HTTP/1.1"
            assert sockets(served) == before + 1
            until(lambda: sockets(served) == before)
            with contextlib.suppress(ConnectionResetError):
                found = b"".join(iter(lambda: client.recv(1 << 16), b""))
                assert not found.endswith((b"]}", b"[DONE]\n\n"))
        assert served.metric("charlm_rows") == 0
        assert served.complete(model="run", prompt="a", max_tokens=1)[0] == 200


def sockets(served):
    """How many sockets the server has open."""
    folder = Path(f"/proc/{served.process.pid}/fd")
    if not folder.exists():
        pytest.skip("this system does not show what a process has open")
    found = 0
    for one in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            found += os.readlink(one).startswith("socket:")
    return found


def until(claim):
    began = time.monotonic()
    while not claim():
        assert time.monotonic() - began < PATIENCE_S
        time.sleep(0.05)


@pytest.mark.slow
def test_a_request_that_comes_a_byte_at_a_time_is_given_up(server):
    """The first one of a connection, and one after another."""
    whole = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with contextlib.ExitStack() as stack:
        first, second = (
            stack.enter_context(socket.create_connection(server.address, PATIENCE_S))
            for _ in range(2)
        )
        second.sendall(whole)
        read_until(second, b'{"status":"ok"}')
        began, heard, slow = time.monotonic(), {}, whole + b"X" * 10_000
        while len(heard) < 2:
            assert time.monotonic() - began < PATIENCE_S
            sent, slow = slow[:1], slow[1:]
            for connection in {first, second} - heard.keys():
                connection.sendall(sent)
                if select.select([connection], [], [], 0)[0]:
                    heard[connection] = connection.recv(1000)
            time.sleep(0.5)
    assert all(b"408 Request Timeout" in answer for answer in heard.values()), heard


def test_there_are_so_many_connections_and_no_more(model):
    most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if most < CONNECTIONS + 200:
        pytest.skip(f"a process may have {most} files open")
    with serving(model) as served, contextlib.ExitStack() as stack:
        for _ in range(CONNECTIONS):
            stack.enter_context(socket.create_connection(served.address, PATIENCE_S))
        request = urllib.request.Request(f"{served.url}/healthz")
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.urlopen(request, timeout=PATIENCE_S)
        with caught.value as refused:
            assert (refused.code, refused.headers["Retry-After"]) == (503, "1")
            assert "connections" in json.loads(refused.read())["error"]["message"]
        stack.close()
        until(lambda: served.get("/healthz")[0] == 200)


@pytest.mark.parametrize("path", ["/nothing", "/v1/completions"])
@pytest.mark.parametrize("chunk", [b"ZZ\r\n", b"2\r\n{}XX"])
def test_a_body_that_is_no_http_is_refused_once(server, path, chunk):
    request = post(chunk, path, Content_Length="", Transfer_Encoding="chunked")
    status, body = answer(server.address, request)
    assert status == 400
    assert json.loads(body)["error"]["type"] == "invalid_request_error"


def test_a_long_text_is_told_in_several_events(client):
    asked = {"model": "run", "prompt": "the king " * 200, "max_tokens": 3, "seed": 1}
    asked |= {"echo": True, "logprobs": 1}
    (whole,) = client.completions.create(**asked).choices
    pieces = [piece.choices[0] for piece in client.completions.create(**asked, stream=True)]
    assert max(len(piece.logprobs.tokens) for piece in pieces) <= PART_TOKENS
    assert "".join(piece.text for piece in pieces) == whole.text
    offsets = [at for piece in pieces for at in piece.logprobs.text_offset]
    assert offsets == whole.logprobs.text_offset == list(range(1803))
    begin = 0
    for piece in pieces:
        assert whole.text[begin:].startswith(piece.text)
        assert piece.logprobs.text_offset[0] == begin
        begin += len(piece.text)
    assert {piece.echoed_chars for piece in pieces} == {whole.echoed_chars} == {1800}


def test_what_cannot_be_served_is_told_in_a_line(charlm, model, both_sides_model, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for args, complaint in (
            ([model, "--port", port], "cannot be listened on"),
            ([tmp_path / "nothing"], "does not exist"),
            ([both_sides_model], "is bidirectional"),
            ([model, model], "is given twice"),
        ):
            done = charlm("serve", *args)
            assert (done.returncode, done.stdout) == (1, b"")
            assert complaint in done.stderr.decode()
            assert len(done.stderr.splitlines()) == 1
    assert charlm("serve").returncode == 2
    assert charlm("serve", model, "--token", "é").returncode == 2

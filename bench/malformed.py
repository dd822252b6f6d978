"""Requests that are wrong in one way or several, and what a server answers to them."""

import json
import random
import socket
from collections.abc import Callable
from typing import Any

LARGEST_BODY = 100_000  # give the server --max-body of this
TIMEOUT_S = 60  # the machine may be busy

NOT_TEXTS = [0, 1.5, True, [], {}, [1], {"a": 1}]
NOT_FLAGS = [0, 1, "true", "", [], {}, 1.0]
NOT_COUNTS = [1.5, "1", True, [], {}, -1, -(10**30), float("nan")]
NOT_NUMBERS = ["1", True, [], {}, float("nan"), float("inf"), -float("inf"), 10**400, -1.0, 1e308]
STRANGE = ["\N{GRINNING FACE}", "\N{CJK UNIFIED IDEOGRAPH-4E00}", "\0", "a\ud800", "\udfff"]

# For each parameter values that it can't have.
WRONG: dict[str, list[Any]] = {
    "model": [*NOT_TEXTS, "", "nothing", "../model", "\0", "x" * 10_000, "\ud800"],
    "prompt": [
        *NOT_TEXTS[1:3], [], {}, [[]] * 1000, ["a", 1], [1, "a"], [None], [[1], [None]], [1.5],
        [True], [-1], [10**30], [10**6], [[10**6]], *STRANGE, [STRANGE[0]], "the " * 20_000,
        [1] * 40_000, ["a"] * 5_000,
    ],
    "n": [*NOT_COUNTS, 0, 129, 10**30],
    "best_of": [*NOT_COUNTS, 0, 5, 10**30],
    "max_tokens": [*NOT_COUNTS, 10**30, 10**9],
    "echo": NOT_FLAGS,
    "stream": NOT_FLAGS,
    "logprobs": [*NOT_COUNTS, 21, 10**30, False],
    "stop": [*NOT_TEXTS[:3], {}, "", [""], ["a"] * 5, [1], [["a"]], "x" * 10_000, "\ud800"],
    "seed": [1.5, "1", True, [], {}, 2**63, -(2**63) - 1, 10**30],
    "temperature": [*NOT_NUMBERS, 2.1],
    "top_p": [*NOT_NUMBERS, 0, 1.1],
    "min_p": [*NOT_NUMBERS, 1.1],
    "repetition_penalty": [*NOT_NUMBERS, 0, 101],
    "top_k": [*NOT_COUNTS, 0],
    "stream_options": [*NOT_TEXTS[:4], "a", {"a": 1}, {"include_usage": 1}],
    "suffix": [*NOT_TEXTS, "after"],
    "user": NOT_TEXTS,
    "logit_bias": [0, "a", [], {"1": 100}],
    "presence_penalty": [*NOT_NUMBERS[:7], 1, 2.5],
    "frequency_penalty": [*NOT_NUMBERS[:7], -1, 2.5],
    "nonsense": [0, "", {}, "x" * 1000],
    "\ud800": [0],
    "": [0],
}  # fmt: skip


def malformed(rng: random.Random, model: str) -> bytes:
    """A request that is wrong, as it goes over the wire; `model` is one that is served."""
    way = rng.choice([one_wrong] * 8 + [several_wrong] * 3 + [no_json] * 3 + [no_route, no_http])
    return way(rng, model)


def post(body: bytes, path: str = "/v1/completions", **headers: str) -> bytes:
    """A POST of `body`, as it goes over the wire."""
    names = {"Host": "localhost", "Content-Type": "application/json", "Connection": "close"}
    names |= {"Content-Length": str(len(body))}
    names |= {name.replace("_", "-"): value for name, value in headers.items()}
    head = "".join(f"{name}: {value}\r\n" for name, value in names.items() if value)
    return f"POST {path} HTTP/1.1\r\n{head}\r\n".encode() + body


def answer(address: tuple[str, int], request: bytes) -> tuple[int, bytes]:
    """The status and the body of what a server answers."""
    with socket.create_connection(address, TIMEOUT_S) as connection:
        connection.sendall(request)
        found = b"".join(iter(lambda: connection.recv(1 << 16), b""))
    head, _, body = found.partition(b"\r\n\r\n")
    if not head:
        raise RuntimeError("no answer")
    return int(head.split()[1]), body


def harm(address: tuple[str, int], request: bytes) -> str | None:
    """What is wrong with the answer to a malformed request, or None: it tells so in JSON."""
    status, body = answer(address, request)
    if not 400 <= status < 500:
        return f"status {status}"
    error = json.loads(body)["error"]
    if error.keys() != {"message", "type", "param", "code"} or not error["message"]:
        return f"body {body!r}"
    return None


def one_wrong(rng: random.Random, model: str) -> bytes:
    """A request of which one parameter is wrong."""
    return post(json.dumps(_values(rng, model, 1)).encode())


def several_wrong(rng: random.Random, model: str) -> bytes:
    """A request of which several parameters are wrong."""
    return post(json.dumps(_values(rng, model, rng.randint(2, 6))).encode())


def no_json(rng: random.Random, model: str) -> bytes:
    """A request whose body can't be read, or is not said to be JSON."""
    body = json.dumps({"model": model, "prompt": "the king", "max_tokens": 2}).encode()
    bodies: list[Callable[[], bytes]] = [
        lambda: body[: rng.randrange(len(body))],
        lambda: rng.randbytes(rng.randrange(1, 200)),
        lambda: body + b"}",
        lambda: body.replace(b"king", b"ki\xffng"),
        lambda: body.decode().encode("utf-16"),
        lambda: b'{"model": ' + b"[" * 50_000,
        lambda: b'{"a":' * 5_000 + b"1" + b"}" * 5_000,
        lambda: rng.choice([b"null", b"[]", b'"text"', b"1", b"{}", b"1" * 5_000]),
        lambda: body[:-1] + b', "n": ' + b"9" * 5_000 + b"}",
        lambda: body + b" " * LARGEST_BODY,
    ]
    if rng.random() < 0.2:
        return post(body, Content_Type=rng.choice(["", "text/plain", "application/xml", "json"]))
    return post(rng.choice(bodies)())


def no_route(rng: random.Random, model: str) -> bytes:
    """A request for what there is not, or from where nobody should ask."""
    body = json.dumps({"model": model, "prompt": "a"}).encode()
    paths = [
        "/v1",
        "/v1/completion",
        "/v1/chat/completions",
        "/v1/completions/",
        "//",
        "/%00",
        "/é",
    ]
    paths += ["/v1/models/nothing", "/v1/models/..%2f..", "/playground", "/../etc/passwd"]
    if rng.random() < 0.3:
        return post(body, Host=rng.choice(["example.org", "example.org:80", "10.0.0.1", "a" * 999]))
    if rng.random() < 0.5:
        method = rng.choice(["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "NONSENSE"])
        return post(body).replace(b"POST", method.encode(), 1)
    return post(body, path=rng.choice(paths))


def no_http(rng: random.Random, model: str) -> bytes:
    """What is not quite HTTP."""
    body = json.dumps({"model": model, "prompt": "a"}).encode()
    wrong: list[bytes] = [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        post(body, Content_Length="-1"),
        post(body, Content_Length="ten"),
        post(body, Host="").replace(b"POST", b"GET", 1),
        post(body, Transfer_Encoding="nonsense"),
        post(body, X_Long="x" * 100_000),
        _chunked(rng.choice([b"ZZ\r\n", b"5\r\nabcdeXX", b"-1\r\n"]), "/v1/completions"),
        _chunked(b"ZZ\r\n", "/nothing"),
        post(body).replace(b"\r\n", b"\r\n\0", 1),
        bytes(rng.randrange(1, 255) for _ in range(rng.randrange(20, 300))) + b"\r\n\r\n",
    ]
    return rng.choice(wrong)


def _chunked(body: bytes, path: str) -> bytes:
    return post(body, path, Content_Length="", Transfer_Encoding="chunked")


def _values(rng: random.Random, model: str, count: int) -> dict[str, Any]:
    values: dict[str, Any] = {"model": model, "prompt": "the king", "max_tokens": 2}
    for name in rng.sample(list(WRONG), count):
        values[name] = rng.choice(WRONG[name])
    if rng.random() < 0.3:
        values.setdefault("stream", True)
    return values

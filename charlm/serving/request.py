"""What a client asks for: the body of a request in OpenAI's form, checked before it is believed.

Source: OpenAI's API reference, "Completions" (legacy), its names, defaults and errors. Beyond it
are `top_k`, `min_p` and `repetition_penalty`, as `charlm sample` has them.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from charlm.config import SamplingConfig
from charlm.errors import ConfigError
from charlm.serving.limits import CHOICES, LOGPROBS, STOP_CHARS, STOPS, Limits
from charlm.untrusted import read_object

DEFAULT_TOKENS = 16  # OpenAI's
SEEDS = 1 << 64
KNOBS = ("temperature", "top_p", "top_k", "min_p", "repetition_penalty")

Prompt = str | list[int]
Read = Callable[[str, Any], Any]


class RequestError(Exception):
    """A request that cannot be served, with the HTTP status that says so."""

    def __init__(
        self,
        message: str,
        *,
        status: int = 400,
        param: str | None = None,
        code: str | None = None,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}
        kind = "server_error" if status >= 500 else "invalid_request_error"
        self.body = {"error": {"message": message, "type": kind, "param": param, "code": code}}


@dataclass(frozen=True)
class Asked:
    """A completion that a client asked for; the defaults are OpenAI's.

    `logprobs` says how many alternatives are told of each token, None that nothing is.
    """

    model: str
    prompts: list[Prompt]
    n: int = 1
    max_tokens: int = DEFAULT_TOKENS
    echo: bool = False
    logprobs: int | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    stream: bool = False
    include_usage: bool = False
    config: SamplingConfig = field(default_factory=SamplingConfig)

    @property
    def scores(self) -> bool:
        """Whether it only measures its prompts."""
        return self.echo and self.max_tokens == 0


def asked(body: bytes, limits: Limits) -> Asked:
    """What the body of a request asks for. Raises RequestError where that makes no sense."""
    values = _object(body)
    for name in values:
        if name not in READERS:
            raise RequestError(f"there is no parameter {name[:40]!r}", param=name[:40])
    # OpenAI's clients send null for what was not said.
    given = {name: READERS[name](name, v) for name, v in values.items() if v is not None}
    if "model" not in given:
        raise RequestError("model is missing; /v1/models lists what there is", param="model")
    for name in ("suffix", "logit_bias", "presence_penalty", "frequency_penalty"):
        if given.pop(name, None):
            raise RequestError(f"{name} is not supported", param=name, code="unsupported_parameter")
    given.pop("user", None)
    n = given.get("n", 1)
    if given.pop("best_of", n) != n:
        raise RequestError("best_of other than n is not supported", param="best_of")
    options = given.pop("stream_options", None)
    if options is not None and not given.get("stream"):
        raise RequestError("stream_options is for stream", param="stream_options")
    prompts = given.pop("prompt", [""])
    if n * len(prompts) > limits.rows + limits.queue:
        raise RequestError(
            f"n times the prompts is {n * len(prompts)} texts;"
            f" {limits.rows + limits.queue} are the most",
            param="n",
        )
    if given.get("max_tokens", 0) > limits.max_tokens:
        raise RequestError(f"max_tokens can be {limits.max_tokens}", param="max_tokens")
    knobs = {name: given.pop(name) for name in KNOBS if name in given}
    try:
        config = SamplingConfig.from_dict(knobs)
    except ConfigError as error:
        raise RequestError(str(error), param=str(error).partition(" ")[0]) from error
    usage = bool(options and options.get("include_usage"))
    return Asked(prompts=prompts, include_usage=usage, config=config, **given)


def _object(body: bytes) -> dict[str, Any]:
    try:
        return read_object(body.decode("utf-8"))
    except (ValueError, json.JSONDecodeError) as error:
        raise RequestError(f"the body is no JSON object in UTF-8 ({error})") from error


def _text(name: str, value: Any) -> str:
    if type(value) is not str:
        raise _wrong(name, "a string")
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise RequestError(f"{name} is not Unicode: it has half a character", param=name) from None
    return value


def _flag(name: str, value: Any) -> bool:
    if type(value) is not bool:
        raise _wrong(name, "true or false")
    return value


def _count(low: int, high: int | None = None) -> Read:
    def read(name: str, value: Any) -> int:
        if type(value) is not int:
            raise _wrong(name, "an integer")
        if value < low or (high is not None and value > high):
            most = "" if high is None else f" and at most {high}"
            raise RequestError(f"{name} must be at least {low}{most}", param=name)
        return value

    return read


def _number(low: float, high: float) -> Read:
    def read(name: str, value: Any) -> float:
        if type(value) not in (int, float) or value != value:
            raise _wrong(name, "a number")
        if not low <= value <= high:
            raise RequestError(f"{name} must be from {low:g} to {high:g}", param=name)
        return float(value)

    return read


def _prompts(name: str, value: Any) -> list[Prompt]:
    """The prompts: a text or several, each as such or as the numbers of its tokens."""
    if type(value) is str:
        return [_text(name, value)]
    if type(value) is not list or not value:
        raise _wrong(name, "a string, an array of strings, or an array of tokens")
    if type(value[0]) is int:
        return [_tokens(name, value)]
    return [_tokens(name, one) if type(one) is list else _text(name, one) for one in value]


def _tokens(name: str, value: list[Any]) -> list[int]:
    if any(type(id) is not int for id in value):
        raise _wrong(name, "made of integers where it is an array of tokens")
    return value


def _stops(name: str, value: Any) -> tuple[str, ...]:
    texts = tuple(_text(name, one) for one in (value if type(value) is list else [value]))
    if len(texts) > STOPS or not all(0 < len(text) <= STOP_CHARS for text in texts):
        raise RequestError(
            f"{name} can be {STOPS} texts of 1 to {STOP_CHARS} characters", param=name
        )
    return texts


def _options(name: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _wrong(name, "an object")
    for key, one in value.items():
        if key not in ("include_usage", "include_obfuscation"):
            raise RequestError(f"{name} has no {key[:40]!r}", param=name)
        if one is not None:
            _flag(f"{name}.{key}", one)
    return value


def _any_object(name: str, value: Any) -> dict[str, Any]:
    if type(value) is not dict:
        raise _wrong(name, "an object")
    return value


def _wrong(name: str, wanted: str) -> RequestError:
    return RequestError(f"{name} must be {wanted}", param=name, code="invalid_type")


READERS: dict[str, Read] = {
    "model": _text,
    "prompt": _prompts,
    "n": _count(1, CHOICES),
    "max_tokens": _count(0),
    "echo": _flag,
    "logprobs": _count(0, LOGPROBS),
    "stop": _stops,
    "seed": _count(-SEEDS // 2, SEEDS // 2 - 1),
    "stream": _flag,
    "stream_options": _options,
    "temperature": _number(0, 2),
    "top_p": _number(0, 1),
    "top_k": _count(1),
    "min_p": _number(0, 1),
    "repetition_penalty": _number(0, 100),
    "best_of": _count(1, CHOICES),
    "suffix": _text,
    "user": _text,
    "logit_bias": _any_object,
    "presence_penalty": _number(-2, 2),
    "frequency_penalty": _number(-2, 2),
}

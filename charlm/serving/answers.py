"""What is answered, in OpenAI's form: JSON, whole or as a stream of events."""

import json
import time
import uuid
from collections.abc import Iterable
from typing import Any

from charlm.serving.desk import Desk
from charlm.serving.texts import Order, Token, Told

DONE = b"data: [DONE]\n\n"


def dumped(value: Any) -> bytes:
    """The JSON of a value, in ASCII: half a character in it does no harm."""
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def event(value: Any) -> bytes:
    """One event of a stream."""
    return b"data: " + dumped(value) + b"\n\n"


def model_card(desk: Desk) -> dict[str, Any]:
    """What /v1/models says of a model."""
    return {"id": desk.name, "object": "model", "created": desk.created, "owned_by": "charlm"}


class Answer:
    """The answer to one order, and pieces of it."""

    def __init__(self, order: Order, desk: Desk) -> None:
        self._order = order
        self._about = {
            "id": f"cmpl-{uuid.uuid4().hex}",
            "object": "text_completion",
            "created": int(time.time()),
            "model": desk.name,
            "system_fingerprint": desk.fingerprint,
            # Without one of its own another request would not get the same text.
            "seed": None if order.asked.seed is None else order.drawing.seed,
        }

    def piece(self, told: Told) -> dict[str, Any]:
        """A piece of one text."""
        return {**self._about, "choices": [self._choice([told])]}

    def whole(self, told: Iterable[Told]) -> bytes:
        """The JSON of all texts, each put together from its pieces.

        It is made text by text, so that on a thread of its own it holds up no other for long.
        """
        pieces: dict[int, list[Told]] = {}
        for one in told:
            pieces.setdefault(one.index, []).append(one)
        about = dumped({**self._about, "usage": self.usage()})
        choices = b",".join(dumped(self._choice(pieces[index])) for index in sorted(pieces))
        return about[:-1] + b',"choices":[' + choices + b"]}"

    def end(self) -> dict[str, Any]:
        """The last piece where the usage is asked for."""
        return {**self._about, "choices": [], "usage": self.usage()}

    def usage(self) -> dict[str, int]:
        """How many tokens were read and drawn."""
        read, drawn = self._order.prompt_tokens, self._order.drawn
        return {"prompt_tokens": read, "completion_tokens": drawn, "total_tokens": read + drawn}

    def _choice(self, told: list[Told]) -> dict[str, Any]:
        tokens, order = [token for one in told for token in one.tokens], self._order
        index = told[0].index
        choice = {
            "index": index,
            "text": "".join(one.text for one in told),
            "logprobs": None if order.asked.logprobs is None else _logprobs(tokens),
            "finish_reason": told[-1].finish,
        }
        if order.asked.echo:
            # Beyond OpenAI's form: where the prompt ends may not be where the one that was sent
            # does, as symbols that are not known can be left out.
            choice["echoed_chars"] = len(order.beginnings[index // order.asked.n].text)
        return choice


def _logprobs(tokens: list[Token]) -> dict[str, list[Any]]:
    return {
        "tokens": [token.name for token in tokens],
        "token_logprobs": [token.chance.logprob for token in tokens],
        "top_logprobs": [token.chance.top for token in tokens],
        "text_offset": [token.offset for token in tokens],
    }

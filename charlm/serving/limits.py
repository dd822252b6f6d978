"""What a server takes on: of everything that a client can ask for, how much."""

from dataclasses import dataclass

from charlm.config import UNKNOWN_POLICIES
from charlm.knobs import Knobs, knob

CHOICES = 128  # of one prompt; OpenAI's limit
STOPS = 4  # texts that may end a completion; OpenAI's limit
STOP_CHARS = 1_000
LOGPROBS = 20  # alternatives that are told of each token; OpenAI's limit is 5
CONNECTIONS = 512
HEADERS_S = 10.0  # in which a new connection must have told what it wants


@dataclass(frozen=True)
class Limits(Knobs):
    """The limits of a server, and what it does with symbols that a model does not know."""

    rows: int = knob(64, "Texts that are drawn side by side.", low=1, high=4096)
    queue: int = knob(256, "Texts that may wait for a place; more are refused (429).", low=0)
    max_prompt: int = knob(16_384, "Tokens that a prompt may have.", low=1)
    max_tokens: int = knob(4_096, "Tokens that a completion may have.", low=1)
    max_answer: int = knob(
        1 << 20,
        "Tokens that an answer may tell of: n times those of the prompts (with echo) and of the"
        " completions, each with its logprobs alternatives.",
        low=1,
    )
    max_body: int = knob(1 << 20, "Bytes that a request may have.", low=1)
    timeout: float = knob(
        120.0, "Time that a request may take (such as 90s or 2m).", above=0, unit="duration"
    )
    drain: float = knob(
        30.0,
        "Time in which requests can be finished after SIGTERM or Ctrl-C.",
        above=0,
        unit="duration",
    )
    unknown: str = knob(
        "error",
        "What to do with characters of a prompt that the model does not know.",
        choices=UNKNOWN_POLICIES,
    )

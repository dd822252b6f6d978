"""Counts of what a server does, in the text format that Prometheus reads."""

from collections import Counter
from collections.abc import Iterable, Sequence

from charlm.serving.desk import Desk

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Histogram:
    """How many of the seconds observed were at most so many."""

    def __init__(self) -> None:
        self.counts = [0] * len(SECONDS)
        self.total = 0
        self.sum_s = 0.0

    def observe(self, seconds: float) -> None:
        """Counts one."""
        self.total += 1
        self.sum_s += seconds
        for i, most in enumerate(SECONDS):
            self.counts[i] += seconds <= most


class Metrics:
    """What is counted: answers by their status, and how long texts took to begin."""

    def __init__(self) -> None:
        self.answers: Counter[int] = Counter()
        self.first_s = Histogram()

    def page(self, desks: Sequence[Desk]) -> str:
        """All of it, and what the desks count."""
        first = self.first_s
        buckets = zip((*SECONDS, "+Inf"), (*first.counts, first.total), strict=True)
        seconds = [(f'_bucket{{le="{most}"}}', count) for most, count in buckets]
        seconds += [("_sum", first.sum_s), ("_count", first.total)]
        answers = [(f'{{code="{code}"}}', count) for code, count in sorted(self.answers.items())]
        each = [(f'{{model="{_escaped(desk.name)}"}}', desk) for desk in desks]
        families = [
            ("responses_total", "counter", "Responses by HTTP status.", answers),
            ("first_piece_seconds", "histogram", "From request to a text's first piece.", seconds),
        ]
        for name, kind, text, value in (
            ("rows", "gauge", "Texts that are read or drawn now.", lambda desk: desk.running),
            ("waiting", "gauge", "Texts that wait for a place.", lambda desk: desk.waiting),
            ("steps_total", "counter", "Steps of a batch.", lambda desk: desk.steps),
            ("drawn_tokens_total", "counter", "Tokens drawn.", lambda desk: desk.tokens_drawn),
            ("read_tokens_total", "counter", "Tokens read.", lambda desk: desk.tokens_read),
            ("prefixes", "gauge", "Prompts kept as states.", lambda desk: len(desk.prefixes)),
            ("prefix_hits_total", "counter", "Prompts whose beginning was kept.",
             lambda desk: desk.prefixes.hits),
            ("prefix_misses_total", "counter", "Prompts read from the start.",
             lambda desk: desk.prefixes.misses),
        ):  # fmt: skip
            families.append((name, kind, text, [(label, value(desk)) for label, desk in each]))
        return "".join(line for family in families for line in _lines(*family))


def _lines(name: str, kind: str, text: str, values: Iterable[tuple[str, float]]) -> Iterable[str]:
    yield f"# HELP charlm_{name} {text}\n# TYPE charlm_{name} {kind}\n"
    for label, value in values:
        yield f"charlm_{name}{label} {value}\n"


def _escaped(name: str) -> str:
    return name.replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")

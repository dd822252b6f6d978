"""A regular expression's automaton over bytes, from `outlines-core`, within bounds.

The library builds an automaton in one go, without a limit, and cannot be interrupted. So a process
of its own does it, which may take so much time and memory and no more; it runs this file.

`outlines-core` stops at the first alternative that matches, as a search does, and takes time for
matches that begin anywhere. So the pattern is put between a BEGIN and an END: a text is a match
where END can follow, and the alternative that ends in BEGIN keeps a match from beginning later.
The tokens that it is given are the 256 bytes, and each of them after BEGIN.
"""

import json
import os
import re
import subprocess
import sys
import warnings
from array import array
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from charlm import streams
from charlm.errors import ConfigError
from charlm.packages import MissingPackageError

LENGTH = 1_000  # characters of a pattern
STATES = 20_000
TIME_S = 5
MEMORY_BYTES = 2 * 1024**3

BEGIN = b"ab"
END = "\U0010ffff".encode()  # stands for no character, and no text should have it
WRAPPED = r"ab(?:%s)\x{10ffff}|a"
STOP = 512  # the id that the library wants for the end of a text


@dataclass(frozen=True)
class Automaton:
    """The states 0 to S - 1, of which 0 is the first, and S, from where nothing is a match.

    `table` (S + 1, 256) has the next state by state and byte; a text that ends in one of the
    `accepting` states matches.
    """

    table: array
    accepting: list[int]


def compile_pattern(pattern: str) -> Automaton:
    """The automaton of the texts that match `pattern` as a whole.

    Raises ConfigError for a pattern that cannot be read, is longer than LENGTH, or whose automaton
    takes more than STATES states, TIME_S seconds or MEMORY_BYTES of memory.
    """
    if len(pattern) > LENGTH:
        raise ConfigError(f"the pattern has {len(pattern):,} characters; it can have {LENGTH:,}.")
    complaint = _complaint(pattern)
    # Between BEGIN and END a parenthesis too many would close theirs.
    if complaint.startswith("unbalanced parenthesis"):
        raise _unreadable(pattern, complaint)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "charlm.sampling.automaton"],
            input=pattern.encode("utf-8"),
            capture_output=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
            timeout=2 * TIME_S,
        )
    except UnicodeEncodeError as error:
        raise _unreadable(pattern, "not UTF-8") from error
    except subprocess.TimeoutExpired as error:
        raise _too_large(pattern) from error
    if done.returncode < 0:
        raise _too_large(pattern)
    if done.returncode:
        raise RuntimeError(done.stderr.decode("utf-8", "replace"))
    head, _, table = done.stdout.partition(b"\n")
    found = json.loads(head)
    if found["fault"] == "package":
        raise MissingPackageError("outlines_core")
    if found["fault"] == "syntax":
        raise _unreadable(pattern, complaint or "it asks for what no automaton can do")
    if found["fault"] == "size":
        raise _too_large(pattern)
    return Automaton(array("i", table), found["accepting"])


def shown(pattern: str) -> str:
    """The pattern as a message shows it: quoted, and its beginning where it is long."""
    return repr(pattern) if len(pattern) <= 60 else f"{pattern[:60]!r}..."


def _complaint(pattern: str) -> str:
    """What Python finds wrong with the pattern, or "". The library itself does not say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            re.compile(pattern)
        except (re.error, OverflowError, RecursionError) as error:
            return str(error)
    return ""


def _unreadable(pattern: str, why: str) -> ConfigError:
    return ConfigError(
        f"{shown(pattern)} is no regular expression that can be used here ({why}). Write it in the"
        " syntax of Rust's regex crate, without look-around, word boundaries and back-references."
    )


def _too_large(pattern: str) -> ConfigError:
    return ConfigError(
        f"the automaton of {shown(pattern)} is too large (more than {STATES:,} states,"
        f" {TIME_S} s or {MEMORY_BYTES // 1024**3} GiB); repeat less in it."
    )


def _build(pattern: str) -> tuple[dict[str, Any], bytes]:
    """What the other process tells: a head, and where there is no fault the table's bytes."""
    try:
        from outlines_core import Index, Vocabulary
    except ModuleNotFoundError:
        return {"fault": "package"}, b""

    tokens = {bytes([byte]): [byte] for byte in range(256)}
    tokens |= {BEGIN + bytes([byte]): [256 + byte] for byte in range(256)}
    try:
        index = Index(WRAPPED % pattern, Vocabulary(STOP, tokens))
    except ValueError:
        return {"fault": "syntax"}, b""
    moves = index.get_transitions()
    first = moves.get(index.get_initial_state(), {})
    rows = [{id - 256: to for id, to in first.items() if 256 <= id < STOP}]
    numbers: dict[int, int] = {}
    for row in rows:
        for to in row.values():
            if to not in numbers:
                numbers[to] = len(rows)
                rows.append({id: then for id, then in moves.get(to, {}).items() if id < 256})
        if len(rows) > STATES:
            return {"fault": "size"}, b""
    final = set(index.get_final_states())
    table = array("i", [len(rows)]) * (256 * (len(rows) + 1))
    accepting = []
    for number, row in enumerate(rows):
        for byte, to in row.items():
            table[256 * number + byte] = numbers[to]
        state = row.get(END[0])
        for byte in END[1:]:
            state = moves.get(state, {}).get(byte)
        if state in final:
            accepting.append(number)
    return {"fault": None, "accepting": accepting}, table.tobytes()


def _limit_this_process() -> None:
    with suppress(ImportError):  # Windows has none; there the time is limited only
        import resource

        limits = [
            (resource.RLIMIT_AS, MEMORY_BYTES),
            (resource.RLIMIT_CPU, TIME_S),
            (resource.RLIMIT_CORE, 0),
        ]
        for kind, most in limits:
            with suppress(ValueError, OSError):
                resource.setrlimit(kind, (most, most))


if __name__ == "__main__":
    _limit_this_process()
    streams.prepare()
    try:
        head, table = _build(sys.stdin.buffer.read().decode("utf-8"))
    except MemoryError:
        head, table = {"fault": "size"}, b""
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + table)

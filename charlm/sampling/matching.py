"""Steering by a regular expression: a processor under which a whole sample matches a pattern.

The pattern's automaton reads bytes, and so every token, whatever its bytes are. Which tokens are
open in a state, and the fewest characters from there to a match, is worked out over the tokens of
the model, so that no token is drawn after which the match cannot be reached.
"""

import heapq
import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np

from charlm.errors import ConfigError
from charlm.sampling.automaton import compile_pattern, shown
from charlm.sampling.processors import History
from charlm.tokenizer import Tokenizer

ROWS_KEPT = 256  # states whose open tokens are remembered

# What has been read of a history: how many ids, the automaton's state, the characters left.
_Place = tuple[int, int, float]


class Matcher:
    """A processor that leaves what can still become a match of `pattern` in `length` characters.

    The pattern is in the syntax of Rust's `regex` crate, with the whole sample (not the prompt) to
    match, so that anchors are implied; `.` excludes the newline; `\\d`, `\\w` and `\\s` are of all
    of Unicode; there are no look-around and no back-references. `banned` ids, the tokenizer's
    unknown token among them, are never open. A `length` of None is no limit.

    Where the text so far is a match, the boundary is open. A model without a boundary ends where
    `ends` says so, which is asked before each draw; so is `finished`, for a place where nothing can
    follow. Law: a sample that was ended by one of the three matches, and is within `length`.

    Raises ConfigError for a pattern that cannot be read, whose automaton is too large, or that no
    text matches which the model can write in `length` characters.
    """

    def __init__(
        self, pattern: str, tokenizer: Tokenizer, length: int | None, banned: Sequence[int] = ()
    ) -> None:
        automaton = compile_pattern(pattern)
        self._table = np.frombuffer(automaton.table, dtype=np.intc).reshape(-1, 256)
        self._dead = len(self._table) - 1
        self._accepting = np.zeros(len(self._table), dtype=bool)
        self._accepting[automaton.accepting] = True
        self._boundary = tokenizer.boundary
        self._length = math.inf if length is None else length
        self._pieces = tokenizer.pieces
        never = {*banned, tokenizer.unknown, tokenizer.boundary}
        self._ids = np.array(
            [id for id, piece in enumerate(tokenizer.pieces) if piece and id not in never],
            dtype=np.int64,
        )
        pieces = [tokenizer.pieces[id] for id in self._ids]
        self._bytes = np.frombuffer(b"".join(pieces), dtype=np.uint8)
        self._sizes = np.array([len(piece) for piece in pieces], dtype=np.int64)
        self._begins = self._sizes.cumsum() - self._sizes
        self._chars = np.array([_chars(piece) for piece in pieces], dtype=np.int64)
        self._row = lru_cache(ROWS_KEPT)(self._open_in)
        self._fewest = np.full(len(self._table), np.inf)
        self._measure()
        if not np.isfinite(self._fewest[0]) or self._fewest[0] > self._length:
            self._complain(pattern)

    def __call__(self, logits: np.ndarray, histories: Sequence[History]) -> np.ndarray:
        """The logits (B, V) with -inf for all that cannot lead to a match.

        A row that is finished has nothing left to draw, and stays as it is.
        """
        bent = np.full_like(logits, -np.inf)
        for row, raw, history in zip(bent, logits, histories, strict=True):
            _, state, room = self._place(history)
            ids = self._open(state, room)
            if self._boundary is not None and self._accepting[state]:
                ids = np.append(ids, self._boundary)
            row[ids] = raw[ids]
            if not len(ids):
                row[:] = raw
        return bent

    def finished(self, history: History) -> bool:
        """Whether nothing but the end can follow: the boundary was drawn, or no token is open."""
        _, state, room = self._place(history)
        return not len(self._open(state, room))

    def ends(self, logits: np.ndarray, history: History, u: float) -> bool:
        """Whether a sample of a model without a boundary ends here, by `u` from [0, 1).

        In a match that can go on, it ends with the probability that the model's own `logits` (V,),
        as they were before any processor, give to the tokens that cannot go on. Where there is a
        boundary the draw itself decides, and this says no.
        """
        _, state, room = self._place(history)
        if self._boundary is not None or not self._accepting[state]:
            return False
        going = self._open(state, room)
        if not len(going):
            return True
        raw = logits.astype(np.float64)
        top = raw[self._ids].max()
        return bool(u >= np.exp(raw[going] - top).sum() / np.exp(raw[self._ids] - top).sum())

    def _place(self, history: History) -> _Place:
        read, state, room = history.kept.get(self, (0, 0, self._length))
        for id in history.ids[read:]:
            piece = self._pieces[id]
            for byte in piece:
                state = int(self._table[state, byte])
            state = self._dead if id == self._boundary else state
            room -= _chars(piece)
        place = (len(history.ids), state, room)
        history.kept[self] = place
        return place

    def _open(self, state: int, room: float) -> np.ndarray:
        """The ids after which a match can be reached in `room` characters."""
        ids, needs = self._row(state)
        return ids[needs <= room]

    def _open_in(self, state: int) -> tuple[np.ndarray, np.ndarray]:
        """The ids after which a match can be reached, and the fewest characters each takes."""
        tokens, targets = self._step(state)
        needs = self._chars[tokens] + self._fewest[targets]
        possible = np.isfinite(needs)
        return self._ids[tokens[possible]], needs[possible]

    def _step(self, state: int) -> tuple[np.ndarray, np.ndarray]:
        """The tokens (places in `self._ids`) that can be read in `state`, and where each leads."""
        tokens = np.arange(len(self._ids))
        states = np.full(len(tokens), state)
        depth = 0
        done = [(tokens[:0], states[:0])]
        while len(tokens):
            states = self._table[states, self._bytes[self._begins[tokens] + depth]]
            depth += 1
            alive = states != self._dead
            tokens, states = tokens[alive], states[alive]
            ended = self._sizes[tokens] == depth
            done.append((tokens[ended], states[ended]))
            tokens, states = tokens[~ended], states[~ended]
        return np.concatenate([t for t, _ in done]), np.concatenate([s for _, s in done])

    def _measure(self) -> None:
        """Finds the fewest characters from each state to a match: from all matches backwards."""
        span = int(self._chars.max(initial=0)) + 1
        before: dict[int, list[tuple[int, int]]] = {0: []}
        ahead = [0]
        for state in ahead:
            tokens, targets = self._step(state)
            # Many tokens lead to one place at one cost, and count once.
            for move in np.unique(targets * span + self._chars[tokens]).tolist():
                target, chars = divmod(move, span)
                if target not in before:
                    before[target] = []
                    ahead.append(target)
                before[target].append((state, chars))
        nearest = [(0, state) for state in ahead if self._accepting[state]]
        while nearest:
            needed, state = heapq.heappop(nearest)
            if needed < self._fewest[state]:
                self._fewest[state] = needed
                for source, chars in before[state]:
                    heapq.heappush(nearest, (needed + chars, source))

    def _complain(self, pattern: str) -> None:
        needed = self._fewest[0]
        if np.isfinite(needed):
            raise ConfigError(
                f"the shortest match of {shown(pattern)} has {needed:.0f} characters, and length is"
                f" {self._length}; make --length larger or the pattern shorter."
            )
        raise ConfigError(
            f"nothing that the model can write matches {shown(pattern)}: its symbols are not all in"
            " the vocabulary, or it contradicts itself (the whole sample is matched; leave ^ and $"
            " out)."
        )


def _chars(piece: bytes) -> int:
    """How many characters begin in the piece; in UTF-8 all but the bytes 10xxxxxx begin one."""
    return sum(byte & 0xC0 != 0x80 for byte in piece)

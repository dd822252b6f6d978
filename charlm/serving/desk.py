"""One model that is served: what is asked of it, its batch, and who waits for a place there."""

import dataclasses
import functools
import random
from collections import deque
from pathlib import Path

import numpy as np

from charlm import model_file
from charlm.config import SamplingConfig
from charlm.errors import ConfigError, DataError
from charlm.sampling.engine import engine_of
from charlm.sampling.generate import Batch, Drawing, Place, read, rows_for
from charlm.sampling.prompts import Prompts
from charlm.sampling.session import check_reads_on
from charlm.sampling.spelling import Drawable
from charlm.sampling.text import Manner, opening
from charlm.score import log_softmax
from charlm.serving.limits import Limits
from charlm.serving.prefixes import Prefixes
from charlm.serving.request import SEEDS, Asked, Prompt, RequestError
from charlm.serving.texts import Beginning, Chance, Order, Reading, Text, Token, Writing

AGAIN = 32  # steps of a row that is read again, while the others go on by one
LEAST_LOGPROB = -9999.0  # JSON has no infinity; this is OpenAI's


class Desk:
    """A model, its batch and its queue.

    Orders are made on any thread, and then taken in and drawn on one. `fresh` are the texts of
    which something can be told.
    """

    def __init__(self, name: str, path: Path, limits: Limits) -> None:
        model = model_file.load(path)
        check_reads_on(model, str(path))
        self.name = name
        self.created = int(model_file.find(path).stat().st_mtime)
        self.fingerprint = f"fp_{model.hash[:12]}"
        self.tokenizer = model.tokenizer
        self.prefixes = Prefixes()
        self.fresh: dict[Text, None] = {}
        self.tokens_read = 0
        self.tokens_drawn = 0
        self.steps = 0
        self._limits = limits
        self._names = [_name(piece) for piece in model.tokenizer.pieces]
        if model.tokenizer.boundary is not None:
            self._names[model.tokenizer.boundary] = "<boundary>"
        self._prompts = Prompts(model, limits.unknown)
        self._opening = opening(model.tokenizer, model.records)
        # As in measuring/scorer.py: what ends a line where lines are scored.
        by_record = model.records != "none"
        self._end = model.tokenizer.boundary if by_record else model.tokenizer.newline
        self._engine = engine_of(model)
        self._batch = Batch(self._engine, AGAIN)
        self._rows = rows_for(self._engine.vocabulary, limits.rows)
        self._waiting: deque[Reading | Writing] = deque()
        self._behind: deque[tuple[Writing, Place]] = deque()  # rows that were put off
        self._drawing = functools.lru_cache(64)(self._drawing_of)

    @property
    def running(self) -> int:
        """How many rows are read or drawn now."""
        return len(self._batch.rows) + len(self._behind)

    @property
    def waiting(self) -> int:
        """How many rows wait for a place."""
        return len(self._waiting)

    def order(self, asked: Asked) -> Order:
        """What to do for a request.

        Raises RequestError where the model can't read a prompt, or the answer would be too long.
        """
        beginnings = [self._beginning(prompt, asked.scores) for prompt in asked.prompts]
        self._check_size(asked, beginnings)
        seed = random.SystemRandom().randrange(2**31) if asked.seed is None else asked.seed
        drawing = self._drawing(asked.config)
        # Without a seed nobody can ask for the same text again, so that rounding may decide.
        steady = asked.seed is not None or drawing.greedy
        drawing = dataclasses.replace(drawing, seed=seed % SEEDS, steady=steady)
        stops = tuple(map(self._stop, asked.stop))
        manner = Manner(asked.config, drawing.seed, stops=stops)
        return Order(asked, beginnings, manner, drawing)

    def _stop(self, text: str) -> str:
        """A stop text as the model writes it. Raises RequestError for one that can never come."""
        try:
            return self._drawable.stop(text)
        except ConfigError as error:
            if self._limits.unknown != "error":
                return text
            raise RequestError(str(error), param="stop") from error

    @functools.cached_property
    def _drawable(self) -> Drawable:
        return Drawable(self.tokenizer)

    def _check_size(self, asked: Asked, beginnings: list[Beginning]) -> None:
        echoed = sum(one.prompt_tokens for one in beginnings) if asked.echo else 0
        tokens = asked.n * (echoed + asked.max_tokens * len(beginnings))
        told = tokens * (1 + (asked.logprobs or 0))
        if told > self._limits.max_answer:
            raise RequestError(
                f"the answer could tell of {told} tokens, alternatives among them;"
                f" {self._limits.max_answer} are the most: ask for fewer texts (n), a lower"
                " max_tokens or fewer logprobs",
                code="answer_too_long",
            )

    def take(self, order: Order) -> None:
        """Takes in an order."""
        for number in range(len(order.beginnings)):
            self._waiting.append(Reading(order, number, None, 0))

    def drop(self, order: Order) -> None:
        """Nobody waits for that order any more."""
        self._waiting = deque(row for row in self._waiting if row.order is not order)
        self._behind = deque(one for one in self._behind if one[0].order is not order)
        gone = {i for i, row in enumerate(self._batch.rows) if row.order is order}
        if gone:
            self._batch.remove(gone)
        self.fresh = {text: None for text in self.fresh if text.order is not order}

    def turn(self) -> None:
        """All rows go on by one token, after as many as there is room for have come in."""
        batch = self._batch
        if self._behind:
            self._catch_up()
        while self._waiting and self.running < self._rows:
            self._admit(self._waiting.popleft())
        if not batch.rows:
            return
        ids, drawn = batch.next_ids()
        chances = self._chances(ids)
        over, readers = [*batch.put_off], False
        for i in batch.put_off:
            self._behind.append((batch.rows[i], batch.place(i)))
        for i, row in enumerate(batch.rows):
            if ids[i] < 0:  # it was put off
                continue
            if not row.hear(ids[i], chances.get(i)):
                over.append(i)
            if isinstance(row, Reading):
                readers = True
            elif row.text.has_news:
                self.fresh[row.text] = None
        self.steps += 1
        self.tokens_drawn += len(drawn)
        self.tokens_read += len(ids) - len(drawn) - len(batch.put_off)
        batch.go_on(ids, over)
        if readers:
            self._hand_over()

    def _admit(self, row: Reading | Writing) -> None:
        """Gives a row a place in the batch, unless all that it would do there is done."""
        if isinstance(row, Reading):
            ids = row.beginning.ids
            if row.logprobs is None:
                done, place = self.prefixes.longest(ids)
                if place is not None:
                    row = Reading(row.order, row.number, place, done)
                if place is not None and done == len(ids):
                    self._begin(row, place)
                    return
        self._batch.add(row, row.order.drawing)

    def _catch_up(self) -> None:
        """The row that was put off first is read again for some steps, or to its end."""
        row, place = self._behind.popleft()
        exact = read(self._engine, place.since[:AGAIN], Place(place.logits, place.exact))
        if since := place.since[AGAIN:]:
            self._behind.appendleft((row, Place(place.logits, place.state, exact.state, since)))
        else:
            row.place = exact
            self._waiting.appendleft(row)

    def _hand_over(self) -> None:
        """Where prompts have been read, their texts wait to be drawn from there."""
        batch, ready = self._batch, set()
        for i, row in enumerate(batch.rows):
            if isinstance(row, Reading) and batch.has_read(i):
                ready.add(i)
                place = batch.place(i)
                # A text that is only measured is hardly ever gone on from.
                if not row.order.asked.scores:
                    self.prefixes.keep(row.beginning.ids, place)
                self._begin(row, place)
        if ready:
            batch.remove(ready)

    def _begin(self, read: Reading, place: Place) -> None:
        """The texts that begin where that row has read its prompt, before all that wait."""
        n, echoed = read.order.asked.n, self._echoed(read)
        for j in reversed(range(n)):
            text = Text(read.order, read.number * n + j, self.tokenizer, self._names)
            text.begin(echoed)
            if text.finish is None:
                self._waiting.appendleft(Writing(text, place))
            if text.has_news:
                self.fresh[text] = None

    def _echoed(self, read: Reading) -> list[Token]:
        """The tokens of a prompt, where their chances were asked for."""
        one = read.beginning
        asked = zip(one.ids[one.unasked :], one.offsets, read.chances, strict=False)
        return [Token(self._names[id], at, chance) for id, at, chance in asked]

    def _chances(self, ids: list[int]) -> dict[int, Chance]:
        """What was expected where rows read or draw those ids, for the rows that tell it."""
        rows = enumerate(self._batch.rows)
        wanted = [i for i, row in rows if row.logprobs is not None and ids[i] >= 0]
        if not wanted:
            return {}
        chances = np.maximum(log_softmax(self._batch.logits[wanted]), LEAST_LOGPROB)
        most = min(max(self._batch.rows[i].logprobs for i in wanted), chances.shape[1])
        best = np.argsort(-chances, axis=-1, kind="stable")[:, :most].tolist()
        found = {}
        for at, i in enumerate(wanted):
            id = ids[i]
            if id >= len(self._names):  # the start symbol, which nothing predicts
                found[i] = Chance(0.0, {})
                continue
            top = [*best[at][: self._batch.rows[i].logprobs], id]
            values = chances[at, top].tolist()
            names = (self._names[one] for one in top)
            found[i] = Chance(values[-1], dict(zip(names, values, strict=True)))
        return found

    def _drawing_of(self, config: SamplingConfig) -> Drawing:
        """How texts of that config are drawn; the same object for the same config."""
        return Manner(config, 0).drawing(self.tokenizer)

    def _beginning(self, prompt: Prompt, scored: bool) -> Beginning:
        ids, text = self._read(prompt, scored)
        if len(ids) > self._limits.max_prompt:
            raise RequestError(
                f"the prompt has {len(ids)} tokens; {self._limits.max_prompt} are the most",
                param="prompt",
                code="context_length_exceeded",
            )
        decoder, at, offsets = self.tokenizer.decoder(), 0, []
        for id in ids:
            offsets.append(at)
            at += len(decoder.feed(id))
        if ids and self.tokenizer.pieces[ids[0]].startswith(b" ") and not text.startswith(" "):
            # A word carries a space before it, which was not typed before the first.
            offsets = [max(0, offset - 1) for offset in offsets]
        return Beginning([*self._opening, *ids], len(self._opening), text, offsets)

    def _read(self, prompt: Prompt, scored: bool) -> tuple[list[int], str]:
        """The ids of a prompt, and its text. What is scored has its last newline as its end."""
        if isinstance(prompt, list):
            if not all(0 <= id < self.tokenizer.vocabulary for id in prompt):
                most = self.tokenizer.vocabulary - 1
                raise RequestError(f"prompt: a token is a number from 0 to {most}", param="prompt")
            return prompt, self.tokenizer.decode(prompt)
        ends = scored and self._end is not None and prompt.endswith("\n")
        body = prompt[:-1] if ends else prompt
        encode = self.tokenizer.encode
        try:
            ids = encode(body, self._limits.unknown) if scored else self._prompts.ids(body)
        except DataError as error:
            raise RequestError(f"the prompt has symbols {error}", param="prompt") from error
        end = [self._end] if ends else []
        return [*ids.tolist(), *end], self._shown(body, ids) + prompt[len(body) :]

    def _shown(self, body: str, ids: np.ndarray) -> str:
        """What was typed, or, where it is not that which was read, the text of the ids."""
        if self._limits.unknown == "error" and self.tokenizer.normalize == "none":
            return body
        text = self.tokenizer.decode(ids)
        is_typed = self.tokenizer.level != "word" or body.startswith(" ")
        return text if is_typed else text.removeprefix(" ")


def _name(piece: bytes) -> str:
    """What a token is called: its text, or where it has none its bytes, as OpenAI writes them."""
    try:
        return piece.decode("utf-8")
    except UnicodeDecodeError:
        return "bytes:" + "".join(f"\\x{byte:02x}" for byte in piece)

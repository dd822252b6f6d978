"""With a large vocabulary fewer rows are drawn at once, and each draws what it would."""

import numpy as np
import pytest
from support.engines import TableEngine

from charlm.sampling import generate
from charlm.sampling.generate import Drawing, Row, rows_for


class Widest(TableEngine):
    """Notes the most rows that it read at once."""

    most = 0

    def step(self, ids, state):
        self.most = max(self.most, len(ids))
        return super().step(ids, state)


@pytest.mark.parametrize(
    ("vocabulary", "rows"), [(65, 64), (65_536, 64), (100_000, 41), (1_000_000, 4), (10**8, 1)]
)
def test_rows_and_vocabulary_are_bounded_together(vocabulary, rows):
    assert rows_for(vocabulary) == rows


@pytest.mark.parametrize(("limit", "rows"), [(10**6, 10), (21, 3)])
def test_fewer_rows_at_once_draw_the_same(monkeypatch, limit, rows):
    monkeypatch.setattr(generate, "MOST_LOGITS", limit)
    engine = Widest(np.random.default_rng(0).standard_normal((8, 7)))
    texts = {}

    def listen(row, id, logits):
        texts.setdefault(row.k, []).append(id)
        return len(texts[row.k]) < 5

    generate.generate(engine, [Row(k) for k in range(10)], Drawing(1), listen)
    alone = {}
    for k in range(10):
        ids = alone[k] = []
        generate.generate(
            engine,
            [Row(k)],
            Drawing(1),
            lambda row, id, logits, ids=ids: ids.append(id) or len(ids) < 5,
        )
    assert engine.most == rows
    assert texts == alone

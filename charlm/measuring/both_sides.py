"""What a bidirectional network makes of texts: each symbol given everything else, on numpy.

Such a figure is no code length: a text could not be sent with so few bits, because what predicts a
symbol has seen those after it too. It tells what stands out, and compares bidirectional models.
"""

import numpy as np

from charlm.measuring.rows import Rows
from charlm.network import Bidirectional
from charlm.network.states import join, take_rows
from charlm.sampling.sides import Reading, Side

# A long text is read in pieces, so that the right stack's outputs fit into memory. Beside each the
# right stack reads so many symbols of the text after it, which is all that it remembers.
PIECE = 1024
REACH = 1024


class BothSides:
    """A bidirectional network with its weights, ready to read texts.

    Each text stands after `opening`. `ends` says that nothing ever follows a text, as is so for a
    record; else what follows is merely not known.
    """

    def __init__(
        self,
        network: Bidirectional,
        weights: dict[str, np.ndarray],
        opening: list[int],
        *,
        ends: bool,
    ) -> None:
        self._network = network
        self._w = network.arrange(weights)
        self._left = Side(network.stack, self._w["stack"], self._w["embedding"])
        self._right = Side(network.right, self._w["right"], self._w["embedding"])
        self._ends = ends
        self._begun = self._left.begin()
        for id in opening:
            self._begun = self._left.step(self._begun, np.array([id]))

    def read(self, rows: Rows) -> None:
        """Fills in what was expected at every place of `rows`."""
        left = take_rows(self._begun, [0] * rows.longer(0))
        for begin in range(0, rows.longest, PIECE):
            end = min(begin + PIECE, rows.longest)
            right = self._read_right(rows, begin, end)
            for t in range(begin, end):
                places, going = rows.places(t), rows.longer(t + 1)
                distances = np.ones(len(places), dtype=np.int64)
                if not self._ends:
                    distances[going:] = 0
                seen = left[0][0], right[t - begin, : len(places)]
                rows.put(places, self._network.merge(np, self._w, *seen, distances))
                if going:
                    left = self._left.step(take_rows(left, slice(going)), rows.ids[places[:going]])

    def _read_right(self, rows: Rows, begin: int, end: int) -> np.ndarray:
        """The right stack's outputs (end - begin, B, D), each having read what lies after it."""
        fresh = self._right.begin()
        output = fresh[0][0]
        found = np.empty((end - begin, rows.longer(begin), output.shape[-1]), output.dtype)
        reading = take_rows(fresh, [])
        for t in reversed(range(begin, min(end + REACH, rows.longest))):
            places = rows.places(t)
            reading = _joined(reading, fresh, len(places))
            if t < end:
                found[t - begin, : len(places)] = reading[0][0]
            if t > begin:
                reading = self._right.step(reading, rows.ids[places])
        return found


def _joined(reading: Reading, fresh: Reading, rows: int) -> Reading:
    """The reading with as many fresh rows after its own as make `rows`."""
    more = rows - len(reading[0][0])
    return join(np, [reading, take_rows(fresh, [0] * more)]) if more else reading

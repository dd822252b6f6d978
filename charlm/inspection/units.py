"""The units of a network: the numbers in its state, each with a name such as `0.c.17`.

That is block 0, the part `c` of its cell's state, entry 17; of several members the name begins with
the member's number, as in `1.0.c.17`. What attention remembers are past positions and no units.
"""

from dataclasses import dataclass

import numpy as np

from charlm.cells.attention import Attention
from charlm.errors import ConfigError
from charlm.network import Network
from charlm.network.states import State


@dataclass(frozen=True)
class _Array:
    """One array of a state: its name, where it stands in the state, and how many units it has."""

    name: str
    part: int
    place: int
    size: int


class Units:
    """The units of a network, numbered from 0."""

    def __init__(self, network: Network) -> None:
        self._arrays = []
        for p, part in enumerate(network.parts):
            if isinstance(part.cell, Attention):
                continue
            block = part.name.replace("members.", "").replace("blocks.", "").removesuffix("cell.")
            for place, (name, shape) in enumerate(part.cell.state_shapes(part.place).items()):
                size = int(np.prod(shape))
                self._arrays.append(_Array(f"{block}{name}.", p, place, size))

    @property
    def count(self) -> int:
        """How many units there are."""
        return sum(array.size for array in self._arrays)

    def values(self, state: State) -> np.ndarray:
        """The values (U,) of all units in the state of one row."""
        found = [state[array.part][array.place].ravel() for array in self._arrays]
        return np.concatenate(found)

    def name(self, number: int) -> str:
        """The name of a unit."""
        for array in self._arrays:
            if number < array.size:
                return f"{array.name}{number}"
            number -= array.size
        raise IndexError(number)

    def number(self, name: str) -> int:
        """The number of the unit of that name. Raises ConfigError, which tells what there is."""
        first = 0
        for array in self._arrays:
            index = name.removeprefix(array.name)
            if index != name and index.isdecimal() and int(index) < array.size:
                return first + int(index)
            first += array.size
        ranges = ", ".join(f"{array.name}0 to {array.size - 1}" for array in self._arrays)
        raise ConfigError(f"the model has no unit {name}; it has {ranges}.")

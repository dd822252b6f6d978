"""The recurrent cells by name. A new cell is one file here and one line below."""

from charlm.cells.cell import Cell
from charlm.cells.elman import Elman
from charlm.cells.gru import GRU
from charlm.cells.lstm import LSTM
from charlm.errors import ConfigError

CELLS: dict[str, Cell] = {
    "rnn": Elman("tanh"),
    "rnn-relu": Elman("relu"),
    "lstm": LSTM(),
    "gru": GRU(),
}


def cell_named(name: str) -> Cell:
    """The cell of that name. Raises ConfigError, with the names there are, on any other."""
    if name not in CELLS:
        raise ConfigError(f"There is no cell {name!r}; the cells are {', '.join(CELLS)}.")
    return CELLS[name]

"""The recurrent cells by name. A new cell is one file here and one line below."""

from charlm.cells.cell import Cell
from charlm.cells.elman import Elman
from charlm.cells.gru import GRU
from charlm.cells.jordan import Jordan
from charlm.cells.lstm import LSTM
from charlm.cells.mingru import MinGRU
from charlm.cells.minlstm import MinLSTM
from charlm.cells.mlstm import MLSTM
from charlm.cells.mogrifier import Mogrifier
from charlm.cells.rwkv import RWKV
from charlm.cells.rwkv4 import RWKV4
from charlm.cells.slstm import SLSTM
from charlm.errors import ConfigError

CELLS: dict[str, Cell] = {
    "rnn": Elman("tanh"),
    "rnn-relu": Elman("relu"),
    "jordan": Jordan(),
    "lstm": LSTM(),
    "mogrifier": Mogrifier(),
    "gru": GRU(),
    "mingru": MinGRU(),
    "minlstm": MinLSTM(),
    "slstm": SLSTM(),
    "mlstm": MLSTM(),
    "rwkv4": RWKV4(),
    "rwkv": RWKV(),
}


def cells_named(names: str) -> list[Cell]:
    """The cells that `names` (lstm, or mlstm,slstm,mlstm) names, from the bottom up.

    Raises ConfigError, with the names there are, on any other.
    """
    found = [name.strip() for name in names.split(",")]
    unknown = [name for name in found if name not in CELLS]
    if unknown:
        raise ConfigError(f"There is no cell {unknown[0]!r}; the cells are {', '.join(CELLS)}.")
    return [CELLS[name] for name in found]

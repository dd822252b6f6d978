"""The knobs of a network's shape."""

from dataclasses import dataclass, fields

from charlm.errors import ConfigError
from charlm.knobs import Knobs, knob

# No network is larger, so that a model file cannot ask for endless layers or memory.
UNITS, LAYERS = {"low": 1, "high": 1 << 16}, {"low": 1, "high": 256}
NORMS = ("none", "layer", "rms")
NO_CELL = "none"


@dataclass(frozen=True)
class NetworkConfig(Knobs):
    """The shape of a network: everything that decides what its weights are."""

    cell: str = knob(
        "lstm",
        "The recurrent cell, or several from the bottom up: mlstm,slstm; none is a model of counts"
        " alone.",
    )
    width: int | None = knob(
        None,
        "Units in each layer (default: as the budget and the machine allow; else 384).",
        **UNITS,
    )
    layers: int | None = knob(
        None, "Recurrent layers, one above the other (default: as the cell wants).", **LAYERS
    )
    members: int | None = knob(
        None,
        "Networks trained side by side, whose mean predicts (default: as the budget and the text"
        " allow; else 1).",
        low=1,
        high=64,
    )
    embedding: int | None = knob(
        None,
        "Width of the input embedding (default: width where --residual or --tied is, else at"
        " most 64).",
        **UNITS,
    )
    norm: str | None = knob(
        None, "Norm before each cell and the head (default: as the cell wants).", choices=NORMS
    )
    residual: bool | None = knob(
        None, "Add each layer's input to its output (default: as the cell wants)."
    )
    feed_forward: bool | None = knob(
        None, "A feed-forward part after each cell (default: as the cell wants)."
    )
    tied: bool = knob(
        False,
        "Share the input embedding with the output head, with a product between the two"
        " where --embedding differs from --width.",
    )
    mixtures: int = knob(1, "Mix the head's probabilities from so many softmaxes.", low=1, high=64)
    adaptive: bool = knob(
        False, "A head in which rare tokens cost little, for vocabularies of many thousand words."
    )
    attention: bool = knob(False, "Attend to the network's own past, in one layer.")
    memory: int = knob(512, "How many past positions --attention reaches back.", **UNITS)
    span: int | None = knob(
        None, "Gates begin so that units remember for up to so many steps.", low=3, high=10**6
    )
    bidirectional: bool = knob(
        False, "Predict each symbol from the text on both sides: for `fill`, not `sample`."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        cells = self.cell.count(",") + 1
        if cells > LAYERS["high"]:
            raise ConfigError(f"cell names {cells:,} cells; {LAYERS['high']} are the most.")
        if self.layers is not None and self.layers % cells:
            raise ConfigError(
                f"layers is {self.layers}, and cell names {cells} ({self.cell}), which are repeated"
                " from the bottom up; make layers a multiple of that, or leave it out."
            )
        if cells > 1 and NO_CELL in self.cell.split(","):
            raise ConfigError(f"cell {NO_CELL} is a model of counts alone, and stands alone.")
        if self.cell == NO_CELL and any(
            getattr(self, f.name) != f.default for f in fields(self) if f.name != "cell"
        ):
            raise ConfigError(
                f"cell {NO_CELL} is a model of counts alone, which has no network to shape; leave"
                " the other options of a network out."
            )
        if self.adaptive and (self.tied or self.mixtures > 1 or self.bidirectional):
            raise ConfigError("adaptive goes with neither tied, mixtures nor bidirectional.")
        if self.bidirectional and self.tied:
            raise ConfigError("tied is not for a bidirectional network; leave it out.")
        if self.bidirectional and (self.members or 1) > 1:
            raise ConfigError("several members are not for a bidirectional network; leave one out.")

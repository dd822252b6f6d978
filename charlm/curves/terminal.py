"""Curves as text, with plotext."""

from collections.abc import Sequence

from charlm.curves.reading import Curve
from charlm.errors import ConfigError

# Runs are told apart by these where there is no colour.
MARKERS = "*o+x#@%&"


def drawn(
    curves: Sequence[Curve], across: str, up: str, columns: int, rows: int, *, colour: bool
) -> str:
    """The curves in so many columns and rows of text; `across` and `up` label the axes.

    Raises ConfigError where plotext is not installed.
    """
    try:
        import plotext
    except ImportError as error:
        raise ConfigError(
            "drawing in a terminal takes plotext: pip install 'charlm[plot]'."
        ) from error

    plotext.clear_figure()
    plotext.theme("pro" if colour else "clear")
    plotext.plotsize(columns, rows)
    runs = list(dict.fromkeys(curve.run for curve in curves))
    for curve in curves:
        mark = "braille" if colour else MARKERS[runs.index(curve.run) % len(MARKERS)]
        label = f"{curve.run} {curve.split}"
        plotext.plot(curve.x.tolist(), curve.y.tolist(), label=label, marker=mark)
    plotext.xlabel(across)
    plotext.ylabel(up)
    text = plotext.build()
    text = text if colour else plotext.uncolorize(text)
    return "\n".join(line.rstrip() for line in text.splitlines())

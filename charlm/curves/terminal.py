"""Curves as text, with plotext."""

import itertools
from collections.abc import Sequence

from charlm.curves.reading import Curve
from charlm.packages import missing_packages_named

# Curves are told apart by these where there is no colour.
MARKERS = "*o+x#@%&"


def drawn(
    curves: Sequence[Curve], across: str, up: str, columns: int, rows: int, *, colour: bool
) -> str:
    """The curves in so many columns and rows of text; `across` and `up` label the axes.

    Raises MissingPackageError without plotext.
    """
    with missing_packages_named():
        import plotext

    plotext.clear_figure()
    plotext.theme("pro" if colour else "clear")
    plotext.plotsize(columns, rows)
    for curve, marker in zip(curves, itertools.cycle(MARKERS), strict=False):
        mark = "braille" if colour else marker
        label = f"{curve.run} {curve.split}"
        plotext.plot(curve.x.tolist(), curve.y.tolist(), label=label, marker=mark)
    plotext.xlabel(across)
    plotext.ylabel(up)
    text = plotext.build()
    text = text if colour else plotext.uncolorize(text)
    return "\n".join(line.rstrip() for line in text.splitlines())

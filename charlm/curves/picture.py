"""Curves as a picture, with matplotlib."""

from collections.abc import Sequence
from pathlib import Path

from charlm import atomic
from charlm.curves.reading import Curve
from charlm.packages import missing_packages_named

FORMATS = (".svg", ".png", ".pdf")


def save(curves: Sequence[Curve], across: str, up: str, path: Path) -> None:
    """Writes a picture of the curves to `path`, whole or not at all; its suffix is one of FORMATS.

    The same curves make the same bytes. Raises MissingPackageError without matplotlib.
    """
    with missing_packages_named():
        import matplotlib
        from matplotlib.figure import Figure

    # Else an SVG's names are drawn by chance.
    with matplotlib.rc_context({"svg.hashsalt": "charlm"}):
        figure = Figure(figsize=(8, 4.5), layout="constrained")
        axes = figure.subplots()
        runs = list(dict.fromkeys(curve.run for curve in curves))
        for curve in curves:
            validation = curve.split == "val"
            axes.plot(
                curve.x,
                curve.y,
                label=f"{curve.run} {curve.split}",
                color=f"C{runs.index(curve.run)}",
                marker="o" if validation else None,
                alpha=1.0 if validation else 0.5,
            )
        axes.set_xlabel(across)
        axes.set_ylabel(up)
        axes.grid(alpha=0.3)
        axes.legend()
        kind = path.suffix[1:]
        with atomic.whole_file(path) as temporary:
            dates = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}
            figure.savefig(temporary, format=kind, dpi=150, metadata=dates.get(kind))

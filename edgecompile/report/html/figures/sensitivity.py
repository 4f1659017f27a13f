"""What each layer loses when it alone is int8."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.report.html.rows import Row
from edgecompile.report.html.theme import ARTIFACT, DYNAMIC, FLOAT, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 20
SMALLEST = 1e-7
RUNGS = {"float": FLOAT, "dynamic": DYNAMIC}
"""The colours of layers that were raised; all others are on the lowest rung."""


def draw_sensitivity(rows: Sequence[Row]) -> "Figure | None":
    """Draw bars of the lost R², on a scale of powers of ten, the worst first.

    A row is {layer, lost, rung}.
    """
    rows = sorted(rows, key=lambda row: -float(row["lost"]))[:MOST]
    if not rows:
        return None
    figure = new_figure(46 + 19 * len(rows))
    axes = figure.subplots()
    for place, row in enumerate(rows):
        colour = RUNGS.get(row["rung"], ARTIFACT)
        axes.barh(place, max(float(row["lost"]), SMALLEST), 0.7, color=colour)
    axes.set_yticks(range(len(rows)), [plain(str(row["layer"]), 34) for row in rows], fontsize=10)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(lambda value, _place: f"{value:.0e}")
    axes.xaxis.set_minor_formatter(lambda _value, _place: "")
    axes.tick_params(length=0, which="both")
    axes.set_xlabel("lost of the output (1 - R²) in int8 alone")
    axes.grid(axis="x")
    return figure

"""Bundles beside each other: size, time and what the answers lose."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.report.html.rows import Row, errors
from edgecompile.report.html.theme import ARTIFACT, GRID, INK, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_comparison(names: Sequence[str], rows: Sequence[Row | None], unit: str) -> "Figure | None":
    """Draw one bar a bundle; a bundle without a number has none."""
    if all(row is None for row in rows):
        return None
    figure = new_figure(44 + 26 * len(names))
    axes = figure.subplots()
    places = [place for place, row in enumerate(rows) if row is not None]
    found = [row for row in rows if row is not None]
    axes.barh(
        places, [row["value"] for row in found], 0.66, color=ARTIFACT,
        xerr=errors(found), error_kw={"ecolor": INK, "elinewidth": 1},
    )  # fmt: skip
    for place, row in enumerate(rows):
        if row is None:
            axes.text(0, place, " no number", va="center", color=INK, fontsize=10)
    axes.set_yticks(range(len(names)), [plain(name, 30) for name in names])
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.tick_params(length=0, color=GRID)
    axes.set_xlabel(unit)
    axes.grid(axis="x")
    return figure

"""Energy or carbon, float before and this bundle after, each with its band."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.report.html.rows import Row, errors
from edgecompile.report.html.theme import INK, LABELS, MODELS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_spent(rows: Sequence[Row], unit: str) -> "Figure | None":
    """Draw a bar a row; the rows are of one unit and one case."""
    rows = [row for row in rows if row.get("model") in MODELS]
    if not rows:
        return None
    figure = new_figure(56 + 26 * len(rows))
    axes = figure.subplots()
    axes.barh(
        range(len(rows)), [row["value"] for row in rows], 0.7,
        color=[MODELS[row["model"]] for row in rows],
        xerr=errors(rows), error_kw={"ecolor": INK, "elinewidth": 1},
    )  # fmt: skip
    labels = [f"{LABELS[row['model']]} ({row['kind']})" for row in rows]
    axes.set_yticks(range(len(rows)), labels)
    axes.invert_yaxis()
    axes.tick_params(length=0)
    axes.set_xlim(left=0)
    axes.locator_params(axis="x", nbins=5)
    axes.set_xlabel(plain(unit, 60))
    axes.grid(axis="x")
    return figure

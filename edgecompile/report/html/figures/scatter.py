"""What float answers against what this bundle answers: on the diagonal they are the same."""

from typing import TYPE_CHECKING

from edgecompile.report.html.rows import Row
from edgecompile.report.html.theme import ARTIFACT, MUTED, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_scatter(scatter: Row) -> "Figure | None":
    """Draw one point a pair of numbers."""
    truths, ours = scatter["float"], scatter["artifact"]
    if not truths:
        return None
    figure = new_figure(300)
    axes = figure.subplots()
    low, high = min(*truths, *ours), max(*truths, *ours)
    axes.plot([low, high], [low, high], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.plot(truths, ours, "o", color=ARTIFACT, markersize=3, alpha=0.55, markeredgewidth=0)
    axes.set_xlabel("float")
    axes.set_ylabel("this bundle")
    axes.set_box_aspect(0.7)
    axes.grid()
    return figure

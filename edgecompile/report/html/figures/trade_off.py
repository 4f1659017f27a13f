"""What a pruning costs and loses at each budget."""

from typing import TYPE_CHECKING

from edgecompile.report.html.rows import Row
from edgecompile.report.html.theme import ARTIFACT, FLOAT, MUTED, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SCALES = {"bytes": (1e6, "MB"), "multiply-accumulates": (1e9, "10⁹ multiply-accumulates")}
"""Units that are shown in larger ones."""


def draw_trade_off(curve: Row) -> "Figure":
    """Draw what was predicted, and what was chosen and measured."""
    scale, unit = SCALES.get(curve["unit"], (1.0, plain(str(curve["unit"]))))
    points, chosen = curve["points"], curve["chosen"]
    figure = new_figure(230)
    axes = figure.subplots()
    axes.plot(
        [float(p["cost"]) / scale for p in points], [float(p["loss"]) for p in points],
        "o-", color=FLOAT, markersize=3, linewidth=1.2, label="predicted",
    )  # fmt: skip
    axes.plot(
        [float(chosen["cost"]) / scale], [float(chosen["measured_loss"])],
        "o", color=ARTIFACT, markersize=7, label="chosen, measured",
    )  # fmt: skip
    axes.axvline(float(curve["dense"]) / scale, color=MUTED, linewidth=0.8, linestyle=(0, (2, 2)))
    axes.set_xlabel(f"what stays, {unit} (dotted: dense)")
    axes.set_ylabel("lost (1 - R²)")
    axes.set_ylim(bottom=0)
    axes.grid()
    axes.legend()
    return figure

"""The trade-off of a pruning as a picture: what each budget costs and loses."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCALES = {"bytes": (1e6, "MB"), "multiply-accumulates": (1e9, "10^9 multiply-accumulates")}
"""Units that are shown in larger ones."""
MISSING = "no plot of the trade-off was drawn: pip install 'edgecompile[distill]' brings matplotlib"


def plot_curve(curve: Mapping[str, Any], path: Path) -> bool:
    """Write an SVG; return False where matplotlib, of the extra [distill], is not installed.

    The same curve gives the same bytes.
    """
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError:
        return False
    scale, unit = SCALES.get(curve["unit"], (1.0, curve["unit"]))
    chosen = curve["chosen"]
    with mpl.rc_context({"svg.hashsalt": "edgecompile", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(6, 3.6), layout="constrained")
        axes = figure.subplots()
        costs = [point["cost"] / scale for point in curve["points"]]
        losses = [point["loss"] for point in curve["points"]]
        axes.plot(costs, losses, "o-", color="black", markersize=3, label="predicted")
        axes.plot(
            [chosen["cost"] / scale], [chosen["measured_loss"]],
            "o", color="tab:green", label="chosen, measured",
        )  # fmt: skip
        axes.axvline(curve["dense"] / scale, color="grey", linewidth=0.8, linestyle=":")
        axes.annotate(
            "dense", (curve["dense"] / scale, 1), xycoords=("data", "axes fraction"),
            xytext=(-3, -3), textcoords="offset points", ha="right", va="top", color="grey",
        )  # fmt: skip
        axes.set_xlabel(f"what stays, {unit}")
        axes.set_ylabel("lost of the outputs (1 - R²)")
        axes.set_ylim(bottom=0)
        axes.legend(frameon=False)
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None, "Creator": None})
    return True

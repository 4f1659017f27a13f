"""The course of a training as a picture: each loss, and the score of the samples kept apart."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

LOSSES = ("loss", "outputs", "hidden", "attention", "labels")


def plot_loss(
    history: Sequence[Mapping[str, Any]], metric: str, best_step: int, path: Path
) -> None:
    """Write an SVG: losses (logarithmic) above, the metric below, over the steps."""
    import matplotlib as mpl
    from matplotlib.figure import Figure

    with mpl.rc_context({"svg.hashsalt": "edgecompile", "svg.fonttype": "none", "font.size": 9}):
        figure = Figure(figsize=(7, 5), layout="constrained")
        above, below = figure.subplots(2, 1, sharex=True)
        for name in LOSSES:
            rows = [row for row in history if name in row]
            if rows and (name == "loss" or sum(k in rows[0] for k in LOSSES) > 2):
                style = {"color": "black", "linewidth": 1.8} if name == "loss" else {"linewidth": 1}
                label = "sum" if name == "loss" else name
                above.plot([r["step"] for r in rows], [r[name] for r in rows], label=label, **style)
        above.set_yscale("log")
        above.set_ylabel("loss")
        if above.lines:
            above.legend(frameon=False)
        steps = [row["step"] for row in history]
        below.plot(steps, [row["mean"] for row in history], color="black", label="mean")
        below.plot(steps, [row["min"] for row in history], color="grey", label="worst sample")
        best = next(row["mean"] for row in history if row["step"] == best_step)
        below.plot([best_step], [best], "o", color="tab:green", label=f"kept: {best:.4f}")
        below.set_ylabel(f"{metric}, to the dense model")
        below.set_xlabel("step")
        below.legend(frameon=False)
        for axes in (above, below):
            axes.grid(alpha=0.3)
            axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, metadata={"Date": None})

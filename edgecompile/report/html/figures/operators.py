"""What takes the time, before and after: bars by what the source's layers do."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.report.html.rows import Row
from edgecompile.report.html.theme import LABELS, MODELS, new_figure, plain

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 8
OTHERS = "others"
SMALL = 0.01
"""What takes less than this share of the whole is shown with the others."""


def draw_operators(rows: Sequence[Row]) -> "Figure | None":
    """Draw milliseconds of float and of this bundle for each kind of layer, the longest first."""
    models = [model for model in MODELS if any(row["model"] == model for row in rows)]
    sums: dict[str, dict[str, float]] = {}
    for row in rows:
        bars = sums.setdefault(str(row["does"]) or OTHERS, dict.fromkeys(models, 0.0))
        bars[str(row["model"])] += float(row["value"])
    if not sums:
        return None
    order = _order(sums)
    figure = new_figure(60 + 30 * len(order))
    axes = figure.subplots()
    height = 0.76 / len(models)
    for number, model in enumerate(models):
        places = [place + (number - (len(models) - 1) / 2) * height for place in range(len(order))]
        values = [sums[kind][model] for kind in order]
        drawn = axes.barh(places, values, height * 0.92, color=MODELS[model], label=LABELS[model])
        axes.bar_label(drawn, [f"{ms:.2f}" for ms in values], padding=3, fontsize=10)
    axes.set_yticks(range(len(order)), [plain(kind, 22) for kind in order])
    axes.invert_yaxis()
    axes.margins(x=0.12)
    axes.locator_params(axis="x", nbins=6)
    axes.tick_params(length=0)
    axes.set_xlabel("ms an inference")
    axes.grid(axis="x")
    axes.legend(loc="lower right")
    return figure


def _order(sums: dict[str, dict[str, float]]) -> list[str]:
    """Return the kinds to show, longest first; add up the small ones as the last."""
    least = SMALL * max(
        sum(times) for times in zip(*(row.values() for row in sums.values()), strict=True)
    )
    order = sorted(sums, key=lambda kind: -max(sums[kind].values()))
    kept = [k for k in order if k != OTHERS and max(sums[k].values()) >= least][:MOST]
    rest = [kind for kind in order if kind not in kept]
    if not rest:
        return kept
    sums[OTHERS] = {m: sum(sums[kind][m] for kind in rest) for m in sums[rest[0]]}
    return [*kept, OTHERS]

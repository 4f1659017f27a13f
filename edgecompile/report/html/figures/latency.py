"""Latency by sequence length: float, dynamic int8 and this bundle, with the interval of each."""

from typing import TYPE_CHECKING

from edgecompile.report.html.rows import Row, errors, is_here, rows_of
from edgecompile.report.html.theme import INK, LABELS, MODELS, new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_latency(profile: Row, threads: int, phase: str) -> "Figure | None":
    """Draw bars of the medians, in milliseconds."""
    found = [row for row in rows_of(profile, "latency_p50", threads=threads) if is_here(row)]
    found = [row for row in found if row.get("phase", "") == phase and "sequence" in row]
    lengths = sorted({row["sequence"] for row in found})
    models = [model for model in MODELS if any(row["model"] == model for row in found)]
    if not lengths or not models:
        return None
    figure = new_figure(230)
    axes = figure.subplots()
    width = 0.8 / len(models)
    for number, model in enumerate(models):
        rows = sorted((r for r in found if r["model"] == model), key=lambda r: int(r["sequence"]))
        places = [
            lengths.index(r["sequence"]) + (number - (len(models) - 1) / 2) * width for r in rows
        ]
        axes.bar(
            places, [r["value"] for r in rows], width * 0.92, color=MODELS[model],
            label=LABELS[model], yerr=errors(rows), error_kw={"ecolor": INK, "elinewidth": 1},
        )  # fmt: skip
    axes.set_xticks(range(len(lengths)), [str(length) for length in lengths])
    axes.tick_params(length=0)
    axes.set_xlabel("tokens in the cache" if phase == "decode" else "tokens")
    axes.set_ylabel("ms")
    axes.grid(axis="y")
    axes.legend(loc="upper left")
    return figure

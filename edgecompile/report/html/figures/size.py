"""Where the artifact's bytes are: an area for each layer, coloured by number format."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgecompile.report.html.rows import Row
from edgecompile.report.html.theme import (
    ARTIFACT,
    CARD,
    DYNAMIC,
    FLOAT,
    MUTED,
    WIDTH,
    new_figure,
    plain,
)  # fmt: skip

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST = 60
HEIGHT = 260
FORMATS = {"int8": ARTIFACT, "uint8": ARTIFACT, "int4": DYNAMIC, "uint4": DYNAMIC}
LETTER = 6.3
"""Pixels that a letter is wide, about."""


def draw_size(weights: Sequence[Row]) -> "Figure | None":
    """Draw a treemap; the smallest layers are one area together."""
    import squarify
    from matplotlib.patches import Patch, Rectangle

    rows = sorted((row for row in weights if row["bytes"] > 0), key=lambda row: -int(row["bytes"]))
    if not rows:
        return None
    shown = [(str(r["layer"]), str(r["format"]), int(r["bytes"])) for r in rows[:MOST]]
    if len(rows) > MOST:
        rest = sum(int(row["bytes"]) for row in rows[MOST:])
        shown.append((f"{len(rows) - MOST} smaller ones", "", rest))
    shown.sort(key=lambda each: -each[2])
    figure = new_figure(HEIGHT + 24)
    axes = figure.subplots()
    sizes = squarify.normalize_sizes([size for _, _, size in shown], WIDTH, HEIGHT)
    for (layer, kind, size), area in zip(
        shown, squarify.squarify(sizes, 0, 0, WIDTH, HEIGHT), strict=True
    ):
        place = (area["x"], HEIGHT - area["y"] - area["dy"])
        colour = _colour(kind)
        axes.add_patch(
            Rectangle(place, area["dx"], area["dy"], facecolor=colour, edgecolor=CARD, linewidth=1)
        )
        _label(axes, plain(layer, 200), size, (*place, area["dx"], area["dy"]))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.set_axis_off()
    kinds = dict.fromkeys(kind for _, kind, _ in shown)
    handles = [Patch(color=_colour(kind), label=kind or "others") for kind in kinds]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


def _colour(kind: str) -> str:
    return FORMATS.get(kind, FLOAT if kind else MUTED)


def _label(axes: "object", layer: str, size: int, box: tuple[float, float, float, float]) -> None:
    """Write a layer's name, as much of its end as there is room for, and its size."""
    x, y, width, height = box
    room = int((width - 8) / LETTER)
    if height < 17 or room < 5:
        return
    if len(layer) > room:
        parts = layer.replace("/", ".").split(".")
        while len(parts) > 1 and len(".".join(parts)) > room:
            parts = parts[1:]
        layer = ".".join(parts)
    if len(layer) <= room:
        _write(axes, x + 4, y + height - 4, layer)
    if height > 32 and room >= 7:
        _write(axes, x + 4, y + height - 18, f"{size / 1e6:.1f} MB")


def _write(axes: "object", x: float, y: float, text: str) -> None:
    axes.text(x, y, text, va="top", fontsize=10, color=CARD)  # type: ignore[attr-defined]

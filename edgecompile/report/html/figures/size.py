"""Where the artifact's bytes are: an area for each layer, coloured by number format."""

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgecompile.report.html.rows import Row
from edgecompile.report.html.theme import (
    ARTIFACT,
    CARD,
    DYNAMIC,
    FLOAT,
    GRID,
    WIDTH,
    new_figure,
    plain,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HEIGHT = 280
FORMATS = {"int8": ARTIFACT, "uint8": ARTIFACT, "int4": DYNAMIC, "uint4": DYNAMIC}
LETTER, LINE, EDGE = 6.6, 14, 4
"""Pixels that a letter is wide, about, that a line is high, and between a text and its box."""
BLOCK = re.compile(r"^(.*?[._/]\d+)(?=[._/])")
"""The block that a layer is of: "encoder.layer.0.output.dense" -> "encoder.layer.0"."""

Box = tuple[float, float, float, float]


def draw_size(weights: Sequence[Row]) -> "Figure | None":
    """Draw a treemap: an area a block of the model, in it one a layer."""
    from matplotlib.patches import Patch

    blocks: dict[str, list[Row]] = {}
    for row in weights:
        if row["bytes"] > 0:
            found = BLOCK.match(str(row["layer"]))
            blocks.setdefault(found[1] if found else str(row["layer"]), []).append(row)
    if not blocks:
        return None
    figure = new_figure(HEIGHT + 24)
    axes = figure.subplots()
    areas = _areas([_bytes(rows) for rows in blocks.values()], (0, 0, WIDTH, HEIGHT))
    for place, box in areas:
        name, rows = list(blocks.items())[place]
        _draw_block(axes, name, rows, box)
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(HEIGHT, 0)
    axes.set_axis_off()
    kinds = dict.fromkeys(str(row["format"]) for row in weights)
    handles = [Patch(color=_colour(kind), label=kind or "others") for kind in kinds]
    figure.legend(handles=handles, loc="outside lower left", ncols=4)
    return figure


def _areas(sizes: Sequence[float], box: Box) -> list[tuple[int, Box]]:
    """Return the place in `sizes` of each area, and the area, as square as it can be."""
    import squarify

    order = sorted(range(len(sizes)), key=lambda n: -sizes[n])
    x, y, width, height = box
    scaled = squarify.normalize_sizes([sizes[n] for n in order], width, height)
    found = squarify.squarify(scaled, x, y, width, height)
    boxes = [(area["x"], area["y"], area["dx"], area["dy"]) for area in found]
    return list(zip(order, boxes, strict=True))


def _draw_block(axes: Any, name: str, rows: Sequence[Row], box: Box) -> None:
    from matplotlib.patches import Rectangle

    for place, (x, y, width, height) in _areas([int(row["bytes"]) for row in rows], box):
        colour = _colour(str(rows[place]["format"]))
        axes.add_patch(
            Rectangle((x, y), width, height, facecolor=colour, edgecolor=CARD, linewidth=0.4)
        )
    x, y, width, height = box
    axes.add_patch(Rectangle((x, y), width, height, fill=False, edgecolor=CARD, linewidth=2.4))
    lines = [_short(plain(name, 200), int((width - 2 * EDGE) / LETTER)), _megabytes(_bytes(rows))]
    if width < 2 * EDGE + LETTER * len(lines[1]):
        return
    for number, line in enumerate(line for line in lines if line):
        if height >= EDGE + LINE * (number + 1):
            axes.text(x + EDGE, y + EDGE + LINE * number, line, va="top", fontsize=10, color=CARD)


def _short(name: str, room: int) -> str:
    """Return a name's last two parts, or one, as there is room for."""
    parts = re.split(r"[./]", name)[-2:]
    while parts and len(".".join(parts)) > room:
        parts = parts[1:]
    return ".".join(parts)


def _bytes(rows: Sequence[Row]) -> int:
    return sum(int(row["bytes"]) for row in rows)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _colour(kind: str) -> str:
    return FORMATS.get(kind, FLOAT if kind else GRID)

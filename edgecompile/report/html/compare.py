"""Several bundles in one table: targets of a model, or versions of one bundle."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgecompile.report.html.figures.comparison import draw_comparison
from edgecompile.report.html.rows import Row, first, is_here, rows_of, timed_case
from edgecompile.report.html.sections import Shown
from edgecompile.report.html.theme import style, to_svg


def compare(bundles: Sequence[Shown], sections: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a row a bundle, and the charts; shares are of the first bundle's."""
    cells = [_cells(bundle) for bundle in bundles]
    shown = [key for key in SHOWN if any(cell[key] is not None for cell in cells)]
    rows = [
        {"name": bundle.name, "section": section, "cells": [_show(c, cells[0], k) for k in shown]}
        for bundle, section, c in zip(bundles, sections, cells, strict=True)
    ]
    names = [bundle.name for bundle in bundles]
    charts = []
    for key in shown:
        title, scale, unit, _ = SHOWN[key]
        found = [_scaled(cell[key], scale) for cell in cells]
        with style():
            figure = draw_comparison(names, found, unit or title)
        if figure is not None:
            charts.append((title, to_svg(figure, f"compare-{key}", f"{title} of each bundle")))
    return {"titles": [SHOWN[key][0] for key in shown], "rows": rows, "charts": charts}


SHOWN: Mapping[str, tuple[str, float, str, str]] = {
    "size": ("size", 1e-6, "MB", ".1f"),
    "latency": ("latency, longest sequence", 1.0, "ms, median, 1 thread", ".1f"),
    "lost": ("lost (1 - accuracy)", 1.0, "", ".4f"),
    "memory": ("peak memory", 1e-6, "MB", ".0f"),
    "energy": ("energy", 1e3, "mJ an inference", ".2f"),
}
"""What is compared: its title, the factor to its unit, the unit, and how it is written."""
SAME = 0.005
"""A change that would be written as 0 %."""


def _cells(bundle: Shown) -> dict[str, Row | None]:
    profile, case = bundle.profile, timed_case(bundle.profile)
    timed = list(rows_of(profile, "latency_p50", model="artifact", **case))
    lost = 1 - float(bundle.manifest["accuracy"]["mean"])
    return {
        "size": first(profile, "size", model="artifact"),
        "latency": next((r for r in timed if is_here(r)), timed[0] if timed else _any(profile)),
        "lost": {"value": lost, "kind": "measured"},
        "memory": first(profile, "peak_memory", model="artifact"),
        "energy": _energy(profile),
    }


def _energy(profile: Row) -> Row | None:
    rows = [r for r in rows_of(profile, "energy", model="artifact") if r.get("threads", 1) == 1]
    return max(rows, key=lambda row: row.get("sequence", 0), default=None)


def _any(profile: Row) -> Row | None:
    """Return a latency of another machine, or a modelled one."""
    names = ("latency_p50", "latency")
    rows = [row for name in names for row in rows_of(profile, name, model="artifact")]
    return max(rows, key=lambda row: row.get("sequence", 0), default=None)


def _scaled(row: Row | None, scale: float) -> Row | None:
    if row is None:
        return None
    ends = {key: row[key] * scale for key in ("low", "high") if row.get(key) is not None}
    return {"value": row["value"] * scale, **ends}


def _show(
    cells: Mapping[str, Row | None], base: Mapping[str, Row | None], key: str
) -> dict[str, str]:
    """Return a number as it is written, how it was got, and its change to the first bundle's."""
    row, reference = cells[key], base[key]
    if row is None:
        return {"text": "-", "kind": "", "change": ""}
    _, scale, unit, form = SHOWN[key]
    short = unit.partition(",")[0].partition(" ")[0]
    text = f"{row['value'] * scale:{form}} {short}".rstrip()
    change = ""
    if reference is not None and reference is not row and reference["value"]:
        change = _change(row["value"] / reference["value"] - 1)
    return {"text": text, "kind": str(row["kind"]), "change": change}


def _change(share: float) -> str:
    return "same" if abs(share) < SAME else f"{share:+.0%}"

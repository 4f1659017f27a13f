"""How wide layers are, and were, in few lines: those that are alike are one."""

import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

KINDS = ("heads", "channels")
Widths = Mapping[str, Any]
"""One layer: its name, and for each of KINDS a list of {name, units, kept}."""


def table_of(rows: Sequence[Widths]) -> Iterator[tuple[str, str, str]]:
    """Yield layer, heads, channels; layers that follow each other and are alike are one row."""

    def cells(row: Widths) -> tuple[str, ...]:
        return tuple(", ".join(map(_cell, row[kind])) or "-" for kind in KINDS)

    for (heads, channels), run in itertools.groupby(rows, cells):
        names = [row["layer"] for row in run]
        last = re.search(r"\d+$", names[-1])
        layer = names[0] if len(names) == 1 else f"{names[0]} to {last[0] if last else names[-1]}"
        yield layer, heads, channels


def _cell(group: Mapping[str, Any]) -> str:
    kept, units = group["kept"], group["units"]
    return f"{units}" if kept == units else f"{kept} of {units}"


def lines_of(rows: Sequence[Widths]) -> Iterator[str]:
    """Yield the same as text."""
    for layer, heads, channels in table_of(rows):
        yield f"{layer}: {heads} heads, {channels} FFN channels"

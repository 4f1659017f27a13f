"""Rows of a profile, found by what they are of."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]


def rows_of(profile: Row, name: str, **where: object) -> Iterator[Row]:
    """Yield the rows of a name that have a value, and what else is asked for."""
    for row in profile["numbers"]:
        same = all(row.get(key) == value for key, value in where.items())
        if row["name"] == name and same and row["value"] is not None:
            yield row


def first(profile: Row, name: str, **where: object) -> Row | None:
    """Return the first such row."""
    return next(rows_of(profile, name, **where), None)


def timed_case(profile: Row) -> dict[str, Any]:
    """Return the case that people ask for first: the longest sequence, 1 thread, its phase."""
    here = [row for row in rows_of(profile, "latency_p50", model="artifact") if is_here(row)]
    if not here:
        return {"sequence": None, "threads": 1}
    longest = max(here, key=lambda row: row.get("sequence", 0))
    phase = {"phase": longest["phase"]} if longest.get("phase") else {}
    return {"sequence": longest.get("sequence"), "threads": 1, **phase}


def is_here(row: Row) -> bool:
    """Say whether a number was measured by the build itself, and not on another machine."""
    return row["kind"] == "measured" and not row.get("where")


def band(row: Row) -> tuple[float, float]:
    """Return the ends of a row's band: the value itself where it has none."""
    low, high = row.get("low"), row.get("high")
    value = float(row["value"])
    return (value if low is None else float(low), value if high is None else float(high))


def errors(rows: Sequence[Row]) -> list[list[float]]:
    """Return how far the bands reach below and above the values, [2, rows]."""
    ends = [band(row) for row in rows]
    return [
        [float(row["value"]) - low for row, (low, _) in zip(rows, ends, strict=True)],
        [high - float(row["value"]) for row, (_, high) in zip(rows, ends, strict=True)],
    ]

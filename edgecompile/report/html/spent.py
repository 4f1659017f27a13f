"""Energy and carbon of a profile, before and after: rows of the same case together."""

from typing import Any

from edgecompile.report.html.rows import Row, band
from edgecompile.report.html.theme import MODELS

SPENT = ("energy", "carbon")
SAME = (
    "value", "low", "high", "kind", "how", "model", "repeats", "confidence", "when", "noisy",
    "watts", "time_low", "time_high",
)  # fmt: skip
"""What may differ between the rows of one case."""
COUNTS = {"sequence": "tokens", "threads": "threads"}
"""The keys that count something, and what."""


def spent_tables(profile: Row) -> list[dict[str, Any]]:
    """Return a table a case: its title, unit and rows, float before, int8 after, and what is saved.

    What names a case is every key that a row has besides the number itself. `first` are those that
    people ask for first: the longest sequence, 1 thread.
    """
    cases: dict[str, list[Row]] = {}
    for row in profile["numbers"]:
        if row["name"].startswith(SPENT) and row["value"] is not None:
            cases.setdefault(_title(row), []).append(row)
    tables = []
    order = list(MODELS)
    for title, found in cases.items():
        rows = sorted(found, key=lambda r: [*order, r.get("model")].index(r.get("model")))
        tables.append(
            {
                "title": title,
                "unit": rows[0]["unit"],
                "rows": rows,
                "saved": _saved(rows),
                "sequence": rows[0].get("sequence", 0),
                "threads": rows[0].get("threads", 1),
            }
        )
    longest = max((table["sequence"] for table in tables), default=0)
    for table in tables:
        table["first"] = table["sequence"] in (0, longest) and table["threads"] == 1
    return tables


def _title(row: Row) -> str:
    rest = {key: value for key, value in row.items() if key not in (*SAME, "name", "unit")}
    told = [
        f"{value} {COUNTS[key]}" if key in COUNTS else f"{key.replace('_', ' ')} {value}"
        for key, value in rest.items()
        if isinstance(value, str | int | float)
    ]
    name = row["name"].replace("_", " ")
    return f"{name[:1].upper()}{name[1:]}{': ' if told else ''}{', '.join(told)}"


def _saved(rows: list[Row]) -> str:
    """Return what of float's is saved, with the band that both together give.

    Of two energies that were modelled with the same watts, only the times' bands count: what the
    watts are off, both are off alike.
    """
    by_model = {row["model"]: row for row in rows}
    before, after = by_model.get("float"), by_model.get("artifact")
    if before is None or after is None or not before["value"]:
        return ""
    (low, high), (least, most) = _time_bands(before, after) or (band(before), band(after))
    saved = 1 - after["value"] / before["value"]
    if low <= 0 or (low, high, least, most) == (
        before["value"],
        before["value"],
        after["value"],
        after["value"],
    ):
        return f"{saved:.0%} saved"
    return f"{saved:.0%} saved ({_share(1 - most / low)} to {_share(1 - least / high)})"


def _share(share: float) -> str:
    """Return a share in percent; what is rounded to nothing has no sign."""
    return f"{round(share, 2) + 0.0:.0%}"


def _time_bands(before: Row, after: Row) -> tuple[tuple[float, float], ...] | None:
    """Return the bands of two energies if their watts, the same of both, were exact; else None."""
    keys = ("watts", "time_low", "time_high")
    told = [row.get(key) for row in (before, after) for key in keys]
    if not all(type(n) in {int, float} for n in told) or before["watts"] != after["watts"]:
        return None
    low, high = keys[1:]
    return tuple((row["value"] * row[low], row["value"] * row[high]) for row in (before, after))

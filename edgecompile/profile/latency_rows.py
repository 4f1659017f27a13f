"""What was timed -> rows of profile.json: quantiles, load time, and time as a share of float's."""

from collections.abc import Iterable, Sequence
from typing import Any

from edgecompile.profile.measure_latency import Latency
from edgecompile.profile.quantiles import quantile

Row = dict[str, Any]

SHARES = {"latency_p50": 0.5, "latency_p90": 0.9, "latency_p99": 0.99}
HOW = "in turn with the other models in one process, which share a thread pool; batch 1"
BAND = "low and high: order statistics, which hold the value with the probability `confidence`"
RATIO_HOW = f"median of the ratios within each turn; {HOW}; {BAND}"
LOAD_HOW = (
    "once: from the file to a model that answers, the runtime imported and the file in the cache"
)
FLOAT = "float"
NOISY = 0.1
"""Where the float model's own interval is wider than this share of its median, a machine is noisy:
then no difference of that size can be told."""


def latency_rows(found: Sequence[Latency]) -> list[Row]:
    """Return quantiles for each model and case, each model's share of float's time, load times."""
    floats = {_case(row): row for row in found if row.model == FLOAT}
    rows: list[Row] = []
    for latency in found:
        reference = floats.get(_case(latency))
        noisy = {"noisy": True} if reference is not None and _width(reference) > NOISY else {}
        place = _place(latency) | {"repeats": len(latency.times_ms)}
        for name, share in SHARES.items():
            rows.append(_row(name, "ms", f"{HOW}; {BAND}", latency.times_ms, share, place | noisy))
        if reference is not None and latency is not reference:
            pairs = zip(latency.times_ms, reference.times_ms, strict=True)
            ratios = [ours / max(theirs, 1e-9) for ours, theirs in pairs]
            place |= noisy
            rows.append(_row("latency_vs_float", "of float", RATIO_HOW, ratios, 0.5, place))
    return rows + _loads(found)


def noise_warning(rows: Iterable[Row]) -> str | None:
    """Return what to tell of a machine that was too noisy, None if it was quiet."""
    timed = [row for row in rows if row["name"] == "latency_p50" and row["model"] == FLOAT]
    noisy = [row for row in timed if row.get("noisy")]
    if not noisy:
        return None
    worst = max(_relative(row) for row in noisy)
    cases: dict[int, list[str]] = {}
    for row in noisy:
        cases.setdefault(row["threads"], []).append(str(row["sequence"]))
    named = "; ".join(
        f"{', '.join(lengths)} tokens on {threads} thread{'s' * (threads != 1)}"
        for threads, lengths in cases.items()
    )
    return (
        f"this machine was too noisy to say in {len(noisy)} of {len(timed)} cases ({named}): the"
        f" interval of the float model's own median is wider than {NOISY:.0%} of it, up to"
        f" {worst:.0%}; end other programs and build again, with --no-cache"
    )


def _row(name: str, unit: str, how: str, values: Sequence[float], share: float, at: Row) -> Row:  # noqa: PLR0917 - a row's fields
    found = quantile(values, share)
    row = {"name": name, "value": round(found.value, 4), "unit": unit, "kind": "measured"}
    row |= {"how": how, **at}
    if found.low is None or found.high is None or found.confidence is None:
        return row
    low, high = round(found.low, 4), round(found.high, 4)
    return row | {"low": low, "high": high, "confidence": round(found.confidence, 3)}


def _loads(found: Sequence[Latency]) -> list[Row]:
    once = {(row.model, row.threads): row.load_ms for row in found}
    return [
        {
            "name": "load",
            "value": round(ms, 2),
            "unit": "ms",
            "kind": "measured",
            "how": LOAD_HOW,
            "model": model,
            "threads": threads,
            "repeats": 1,
        }
        for (model, threads), ms in once.items()
    ]


def _case(row: Latency) -> tuple[int, str, int]:
    return row.sequence, row.phase, row.threads


def _place(row: Latency) -> Row:
    place = {"model": row.model, "sequence": row.sequence, "threads": row.threads}
    return place | ({"phase": row.phase} if row.phase else {})


def _width(row: Latency) -> float:
    found = quantile(row.times_ms, 0.5)
    low, high = found.low or found.value, found.high or found.value
    return (high - low) / max(found.value, 1e-9)


def _relative(row: Row) -> float:
    return float((row.get("high", 0) - row.get("low", 0)) / max(row["value"], 1e-9))

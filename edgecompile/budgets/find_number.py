"""The number of a bundle that a budget is held against, or why there is none."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from edgecompile.budgets.table import Budget
from edgecompile.bundles.read_bundle import ReadBundle

Row = Mapping[str, Any]

EVIDENCE = ("measured", "emulated", "modelled")
"""The kinds of numbers, the best one first."""
PROFILE_IT = "`edgecompile profile {} --on ssh://USER@HOST` measures it on the board"


@dataclass(frozen=True, slots=True)
class Number:
    """A value, the worse end of its band, and how it was got.

    `bound` is the value itself where it was measured.
    """

    value: float
    bound: float
    kind: str
    how: str


@dataclass(frozen=True, slots=True)
class Missing:
    """Why there is no number, and what would give it."""

    reason: str
    next_step: str


def find_number(bundle: ReadBundle, key: str, budget: Budget) -> Number | Missing:
    """Return the number for a budget's key: the best evidence, the hardest case."""
    return FINDERS[key](bundle, budget)


def _scaled(
    name: str, factor: float, worse_end: str = "high"
) -> Callable[[ReadBundle, Budget], Number | Missing]:
    """Return a finder of a row by its name, in the budget's unit."""

    def find(bundle: ReadBundle, budget: Budget) -> Number | Missing:
        row = _best(bundle, name, budget)
        if isinstance(row, Missing):
            return row
        end = row.get(worse_end) if row["kind"] == "modelled" else None
        bound = row["value"] if end is None else end
        return Number(row["value"] * factor, bound * factor, row["kind"], _how(row))

    return find


def _versus_float(bundle: ReadBundle, budget: Budget) -> Number | Missing:
    """Return the artifact's share of float's time: as measured in pairs, or divided here.

    Both are then of the same length, threads, phase and evidence.
    """
    paired = _best(bundle, "latency_vs_float", budget)
    if not isinstance(paired, Missing):
        return _scaled("latency_vs_float", 1)(bundle, budget)
    ours = _best(bundle, "latency_p50", budget)
    if isinstance(ours, Missing):
        return ours
    same = ("kind", "sequence", "threads", "phase", "where")
    rows = _rows(bundle, "latency_p50", "float")
    theirs = next((r for r in rows if all(r.get(k) == ours.get(k) for k in same)), None)
    if theirs is None or theirs["value"] <= 0:
        step = "the build measures both in turn where this computer can run the target"
        return Missing(f"the float model has no {ours['kind']} time beside the artifact's", step)
    value = bound = ours["value"] / theirs["value"]
    high, low = ours.get("high"), theirs.get("low")
    if ours["kind"] == "modelled" and high is not None and low:
        bound = max(value, high / low)
    return Number(value, bound, ours["kind"], _how(ours))


def _cosine_min(bundle: ReadBundle, budget: Budget) -> Number | Missing:
    """Return the worst sample's cosine, here or on an emulated CPU."""
    metric = bundle.manifest["accuracy"]["metric"]
    if metric != "cosine":
        reason = f"this model is judged by {metric}, which has no cosine"
        return Missing(reason, "give metric_drop instead")
    return _score(bundle, budget, "min")


def _metric_drop(bundle: ReadBundle, budget: Budget) -> Number | Missing:
    """Return 1 - mean score: float scores 1 against itself."""
    found = _score(bundle, budget, "mean")
    return Number(1 - found.value, 1 - found.bound, found.kind, found.how)


def _score(bundle: ReadBundle, budget: Budget, key: str) -> Number:
    table = bundle.manifest["accuracy"]
    found = _score_of(table, key, "measured")
    emulated = bundle.manifest.get("accuracy_emulated")
    there = emulated.get(key) if isinstance(emulated, dict) else None
    careful = budget.pessimistic is not False
    if careful and emulated and isinstance(there, int | float) and there < found.value:
        return _score_of(emulated, key, "emulated")
    return found


def _score_of(table: Row, key: str, kind: str) -> Number:
    value = float(table[key])
    how = f"{table.get('samples')} samples, {table.get('how')}"
    return Number(value, value, str(table.get("kind", kind)), how)


def _rows(bundle: ReadBundle, name: str, model: str) -> Iterator[Row]:
    for row in bundle.profile["numbers"]:
        if row["name"] == name and row.get("model") == model:
            yield row


def _best(bundle: ReadBundle, name: str, budget: Budget) -> Row | Missing:
    """Return the artifact's row of the best evidence, there the longest text, the largest value."""
    rows = list(_rows(bundle, name, "artifact"))
    step = GIVERS.get(name, PROFILE_IT).format(bundle.folder)
    valued = [row for row in rows if row["value"] is not None]
    if not valued:
        why = rows[0]["how"] if rows else f"profile.json has no number '{name}'"
        return Missing(why, step)
    threads = budget.threads or 1
    fitting = [
        row
        for row in valued
        if row.get("threads", threads) == threads
        and (budget.sequence is None or row.get("sequence", budget.sequence) == budget.sequence)
    ]
    if not fitting:
        cases = {(row.get("sequence"), row.get("threads")) for row in valued}
        listed = ", ".join(f"{s} tokens on {t}" for s, t in sorted(cases, key=str))
        wanted = f"{budget.sequence or 'any'} tokens on {threads} thread(s)"
        return Missing(f"it is known for {listed}, not for {wanted}", "see [profile] sequence")
    return min(fitting, key=_rank)


def _rank(row: Row) -> tuple[int, bool, float, float]:
    return (
        EVIDENCE.index(row["kind"]),
        row.get("phase") == "prefill",  # a decoder's step says more than its first one
        -float(row.get("sequence") or 0),
        -float(row["value"]),
    )


def _how(row: Row) -> str:
    """Return how a row was got, and of what it is."""
    case = [
        f"{row['sequence']} tokens" if row.get("sequence") else "",
        str(row.get("phase") or ""),
        f"{row['threads']} thread(s)" if row.get("threads") else "",
    ]
    return "; ".join([", ".join(part for part in case if part), row["how"]]).removeprefix("; ")


GIVERS = {
    "energy": "`edgecompile profile {}` adds it where there is a meter or the target's file has"
    " [power]",
    "npu_share_macs": "build for a target whose engine has an NPU",
}
"""What would give a number that is not there; for all others it is PROFILE_IT."""
FINDERS: Mapping[str, Callable[[ReadBundle, Budget], Number | Missing]] = {
    "size_mb": _scaled("size", 1e-6),
    "latency_ms": _scaled("latency_p50", 1),
    "latency_vs_float": _versus_float,
    "energy_mj": _scaled("energy", 1e3),
    "cosine_min": _cosine_min,
    "metric_drop": _metric_drop,
    "npu_share": _scaled("npu_share_macs", 1, "low"),
    "peak_memory_mb": _scaled("peak_memory", 1e-6),
}
"""For each limit of a budget, where its number is found."""

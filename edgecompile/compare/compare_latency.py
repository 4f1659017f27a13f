"""Latency of two bundles: by what their profiles say, or timed in turn here."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from edgecompile.bundles.read_bundle import ReadBundle, artifact_hash
from edgecompile.bundles.run_golden import Golden, open_artifact
from edgecompile.compare.change import BETTER, SAME, UNCLEAR, WORSE, Change
from edgecompile.compare.significance import Interval, median_interval

Row = Mapping[str, Any]
Rows = Mapping[str, Row]
Case = tuple[str, ...]

MATTERS = 0.05
"""A smaller share than this is no regression, however sure."""
REPEATS = 31
SECTION = "latency"
BY_SHARE = "by the intervals of its share of float's time, both timed in turn"
BY_BAND = "by the confidence intervals"
BY_P90 = "by p50 and p90: these profiles have no confidence intervals"
ONE = Interval(1.0, 1.0, 1.0)


def compare_latency(old: ReadBundle, new: ReadBundle) -> Iterator[Change]:
    """Compare each case (tokens, threads, phase) that both profiles have.

    Where the float model is the same and was timed beside both, it is the artifact's share of its
    time that is compared: so a slow day of the machine is no regression.
    """
    before, after = (_cases(bundle, "artifact") for bundle in (old, new))
    floats = [_cases(bundle, "float") for bundle in (old, new)]
    same_float = old.manifest["inputs"] == new.manifest["inputs"]
    for case in (case for case in after if case in before):
        was, now = before[case], after[case]
        name = ", ".join(str(part) for part in case if part)
        change = (SECTION, name, was["latency_p50"]["value"], now["latency_p50"]["value"], "ms")
        machines = [_machine(*pair) for pair in ((old, was), (new, now))]
        if machines[0] != machines[1]:
            why = f"timed on {machines[0]}, then on {machines[1]}: not comparable"
            yield Change(*change, UNCLEAR, why)
        elif artifact_hash(old) == artifact_hash(new):
            yield Change(*change, SAME, "the artifact is the same file")
        else:
            beside = [rows.get(case, {}) if same_float else {} for rows in floats]
            verdict, how = _judge(was, now, beside)
            yield Change(*change, verdict, f"{now['latency_p50']['kind']}; {how}")


def _judge(was: Rows, now: Rows, floats: Sequence[Rows]) -> tuple[str, str]:
    """Return the verdict by the best evidence that both sides have, and which it was."""
    same_float = all(floats)
    for name, how in (("latency_vs_float", BY_SHARE), ("latency_p50", BY_BAND)):
        bands = [_band(rows.get(name)) for rows in (was, now)]
        if bands[0] and bands[1] and (same_float or how != BY_SHARE):
            return _verdict(bands[0], bands[1]), how
    drift = 1.0
    if same_float:
        medians = [rows["latency_p50"]["value"] for rows in floats]
        drift = medians[1] / medians[0]
    ends = [_quantiles(rows) for rows in (was, now)]
    moved = Interval(*(drift * end for end in (ends[0].value, ends[0].low, ends[0].high)))
    corrected = f"; float takes x {drift:.2f} of before" if same_float else ""
    return _verdict(moved, ends[1]), f"{BY_P90}{corrected}"


def time_both(old: ReadBundle, new: ReadBundle, golden: Golden) -> Change:
    """Time both artifacts here, in turn, on the longest golden sample, 1 thread.

    The verdict is by the 95 % interval of the median of new over old, turn by turn.
    """
    from edgecompile.profile.measure_latency import time_in_turn

    feed = max(golden.feeds, key=lambda f: sum(array.size for array in f.values()))
    runners = {"old": open_artifact(old, 1), "new": open_artifact(new, 1)}
    times = {k: np.asarray(v) for k, v in time_in_turn(runners, feed, REPEATS).items()}
    ratios = times["new"] / times["old"]
    low, high = median_interval(ratios)
    ratio = Interval(float(np.median(ratios)), low, high)
    before, after = (float(np.median(times[name])) for name in ("old", "new"))
    band = f"x {ratio.value:.2f}, 95 % {low:.2f} to {high:.2f}"
    why = f"measured here in turn, {REPEATS} times: {band}"
    verdict = _verdict(ONE, ratio)
    return Change(SECTION, "in turn, 1 thread", before, after, "ms", verdict, why)


def _verdict(was: Interval, now: Interval) -> str:
    """Judge two intervals: they must not touch, and the values must be far enough apart."""
    slower, faster = now.low > was.high, now.high < was.low
    ratio = now.value / was.value
    if slower and ratio > 1 + MATTERS:
        return WORSE
    if faster and ratio < 1 - MATTERS:
        return BETTER
    return SAME if abs(ratio - 1) <= MATTERS else UNCLEAR


def _cases(bundle: ReadBundle, model: str) -> dict[Case, Rows]:
    """Return a model's rows of latency by name, for each case that was timed."""
    found: dict[Case, dict[str, Row]] = {}
    for row in bundle.profile["numbers"]:
        timed = row["name"].startswith("latency_") and (row["value"] or 0) > 0
        if row.get("model") == model and timed:
            tokens, threads = row.get("sequence"), row.get("threads")
            case = (
                f"{tokens} tokens" if tokens else "",
                f"{threads} thread(s)" if threads else "",
                str(row.get("phase") or ""),
                "" if row["kind"] == "measured" else str(row["kind"]),
                str(row.get("where") or ""),
            )
            found.setdefault(case, {})[row["name"]] = row
    return {case: rows for case, rows in found.items() if "latency_p50" in rows}


def _band(row: Row | None) -> Interval | None:
    """Return a row's value with its interval, if it has one."""
    if row is None or row.get("low") is None or row.get("high") is None:
        return None
    return Interval(row["value"], row["low"], row["high"])


def _quantiles(rows: Rows) -> Interval:
    """Return a median with p50 and p90 as its ends."""
    p50 = rows["latency_p50"]["value"]
    return Interval(p50, p50, rows.get("latency_p90", rows["latency_p50"])["value"])


def _machine(bundle: ReadBundle, rows: Rows) -> str:
    """Return what rows were timed on: a machine that they name, or the profile's host."""
    host = bundle.profile.get("host")
    named = host.get("cpu") if isinstance(host, dict) else None
    return str(rows["latency_p50"].get("where") or named or "no machine")

"""What a reader wants to know first: whether the gates hold, and what the bundle is worth."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from edgecompile.report.html.rows import Row, band, first, timed_case
from edgecompile.report.terminal import METRICS

GOOD, BAD, UNSURE = "good", "bad", "unsure"
GATE = {GOOD: "holds", BAD: "fails", UNSURE: "not judged"}
TOLD = {GOOD: "yes", BAD: "no", UNSURE: "cannot be told"}


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line: what was asked, what was found, how that was got.

    A `gate` must hold; the others are told.
    """

    state: str
    what: str
    found: str
    how: str
    gate: bool = False

    @property
    def word(self) -> str:
        """Return the state in words: colour alone tells some readers nothing."""
        return (GATE if self.gate else TOLD)[self.state]


def verdicts(manifest: Mapping[str, Any], profile: Row) -> list[Verdict]:
    """Return the accuracy gate's, then what size and time are against float and dynamic int8."""
    return [
        *_accuracy(manifest),
        *_size(profile),
        *_against_float(profile),
        *_against_dynamic(profile),
    ]


class Judged(Protocol):
    """A verdict of `edgecompile check` on one limit of a budget."""

    @property
    def check(self) -> str: ...  # noqa: D102 - the budget's key
    @property
    def holds(self) -> bool: ...  # noqa: D102
    @property
    def limit(self) -> float: ...  # noqa: D102
    @property
    def judged(self) -> float | None: ...  # noqa: D102 - None where there is no number
    @property
    def kind(self) -> str | None: ...  # noqa: D102
    @property
    def how(self) -> str: ...  # noqa: D102


def of_budget(found: Iterable[Judged]) -> list[Verdict]:
    """Return the verdicts on a budget as the page shows them; each is a gate."""
    return [
        Verdict(
            GOOD if each.holds else BAD,
            f"{each.check}, budget {each.limit:g}",
            "-" if each.judged is None else f"{each.judged:.4g}",
            f"{each.kind}: {each.how}" if each.kind else each.how,
            gate=True,
        )
        for each in found
    ]


def headline(found: list[Verdict]) -> tuple[str, str]:
    """Return the state of all gates together, and the sentence that says it."""
    gates = [verdict for verdict in found if verdict.gate]
    failed = [verdict for verdict in gates if verdict.state == BAD]
    if failed:
        return BAD, f"{len(failed)} of {len(gates)} gates fail"
    if not gates:
        return UNSURE, "Nothing was judged"
    many = {1: "The gate holds", 2: "Both gates hold"}
    return GOOD, many.get(len(gates), f"All {len(gates)} gates hold")


def _accuracy(manifest: Mapping[str, Any]) -> Iterator[Verdict]:
    accuracy = manifest["accuracy"]
    metric = METRICS.get(accuracy["metric"], str(accuracy["metric"]))
    samples = f"{accuracy['samples']} samples, worst {float(accuracy['min']):.4f}"
    floor, mean = accuracy.get("floor"), float(accuracy["mean"])
    if floor is not None:
        state = GOOD if mean >= floor else BAD
        what = f"{metric} to float, at least {float(floor):.4g}"
        yield Verdict(state, what, f"{mean:.4f}", f"measured by the build: {samples}", gate=True)
    signal, least = accuracy.get("signal"), manifest["recipe"].get("gate", {}).get("signal")
    if signal is not None and least is not None:
        state = GOOD if signal >= least else BAD
        what = f"answers differ as float's do (R²), at least {float(least):.4g}"
        yield Verdict(state, what, f"{float(signal):.4f}", "measured by the build", gate=True)
    there = manifest.get("accuracy_emulated", {})
    if "mean" in there and floor is not None:
        lost = max(0.0, float(there["here"]["mean"]) - float(there["mean"]))
        state = GOOD if mean - lost >= floor else BAD
        where = there.get("on", "on a CPU without VNNI")
        what = f"{metric} {where}, at least {float(floor):.4g}"
        found = f"{float(there['mean']):.4f}"
        yield Verdict(state, what, found, f"emulated: {there['samples']} samples", gate=True)


def _size(profile: Row) -> Iterator[Verdict]:
    ours, theirs = (first(profile, "size", model=model) for model in ("artifact", "float"))
    if ours is None or theirs is None or not theirs["value"]:
        return
    share = ours["value"] / theirs["value"]
    state = GOOD if share < 1 else BAD
    sizes = f"{ours['value'] / 1e6:.1f} of {theirs['value'] / 1e6:.1f} MB, measured"
    yield Verdict(state, "smaller than float", f"{share:.0%}", sizes)


def _against_float(profile: Row) -> Iterator[Verdict]:
    case = timed_case(profile)
    row = first(profile, "latency_vs_float", model="artifact", **case)
    if row is None:
        reasons = [n for n in profile["numbers"] if n["name"] == "latency_p50" and not n["kind"]]
        why = reasons[0]["how"] if reasons else "not measured"
        yield Verdict(UNSURE, "faster than float", "-", f"not timed: {why}")
        return
    low, high = band(row)
    state = GOOD if high < 1 else BAD if low > 1 else UNSURE
    found = f"{row['value']:.0%} of its time"
    how = f"{low:.0%} to {high:.0%}; {_case(row)}, measured in turn{_on(profile)}"
    yield Verdict(state, "faster than float", found, how)


def _against_dynamic(profile: Row) -> Iterator[Verdict]:
    case = timed_case(profile)
    ours = first(profile, "latency_p50", model="artifact", **case)
    theirs = first(profile, "latency_p50", model="dynamic_int8", **case)
    if ours is None or theirs is None:
        return
    (low, high), (least, most) = band(ours), band(theirs)
    state = GOOD if high < least else BAD if low > most else UNSURE
    found = f"{ours['value']:.1f} ms, {theirs['value']:.1f} ms"
    how = (
        f"{low:.1f} to {high:.1f}, {least:.1f} to {most:.1f}; {_case(ours)}, measured{_on(profile)}"
    )
    yield Verdict(state, "faster than onnxruntime's dynamic int8", found, how)


def cpu_of(profile: Row) -> str:
    """Return the CPU that latencies were measured on, empty where it is unknown."""
    return str((profile.get("host") or {}).get("cpu", ""))


def _on(profile: Row) -> str:
    cpu = cpu_of(profile)
    return f" on {cpu}" if cpu else ""


def _case(row: Row) -> str:
    what = "tokens in the cache" if row.get("phase") == "decode" else "tokens"
    threads = row.get("threads", 1)
    return f"{row.get('sequence')} {what}, {threads} thread{'s' * (threads != 1)}"

"""An inference's milliseconds on a board, modelled: bound on its cycles x the board's factor."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from edgecompile.counts.count_artifact import Counted
from edgecompile.cpu import Cpu
from edgecompile.errors import FetchError
from edgecompile.latency.board import COUNTS, MCA, Latency
from edgecompile.latency.bound_blocks import bound_blocks
from edgecompile.latency.bound_counts import bound_counts
from edgecompile.latency.llvm import open_llvm
from edgecompile.latency.own_measurements import read_own

Say = Callable[[str, str], None]
Number = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Bound:
    """Cycles that an inference takes at least, the model that says so, and why not the better."""

    cycles: float
    model: str
    why: str = ""


@dataclass(frozen=True, slots=True)
class Estimate:
    """Milliseconds on one thread; `low` and `high` are its band, `how` its model and factor."""

    ms: float
    low: float
    high: float
    how: str


def find_bound(latency: Latency, counted: Counted, say: Say) -> Bound:
    """Return llvm-mca's bound; where this host has no LLVM 19, that of counts alone."""
    try:
        found = bound_blocks(open_llvm(say), latency.scheduler, counted.blocks)
    except FetchError as error:
        return Bound(bound_counts(counted.counts, latency), COUNTS, f" (no llvm-mca: {error})")
    return Bound(found.cycles, MCA)


def estimate(board: str, cpu: Cpu, latency: Latency, bound: Bound) -> Estimate:
    """Return an inference's time on one thread: by the user's own factor where there is one."""
    own = read_own(board)
    if own is not None and own.model == bound.model:
        factor, band = own.factor, own.band
        source = f"fitted to {len(own.ratios)} measurement(s) of your own"
    else:
        factor, band = latency.factor(bound.model, cpu.clock_hz), latency.band_of(bound.model)
        source = f"fitted to {len(latency.anchors)} published times of other models"
    ms = bound.cycles * factor / cpu.clock_hz * 1e3
    how = (
        f"{_bound_in_words(bound, latency)}, x {factor:.2f}, {source}, at"
        f" {cpu.clock_hz / 1e9:g} GHz, +-{band:.0%}; one thread, no throttling{bound.why}"
    )
    return Estimate(ms, ms * (1 - band), ms * (1 + band), how)


def _bound_in_words(bound: Bound, latency: Latency) -> str:
    if bound.model == MCA:
        return f"{bound.cycles / 1e6:.1f} M cycles by llvm-mca's resources of {latency.scheduler}"
    return f"{bound.cycles / 1e6:.1f} M cycles by counts alone"


def latency_numbers(
    board: str, cpu: Cpu, latency: Latency, bound: Bound, sequence: int
) -> Sequence[Number]:
    """Return a profile's numbers: one thread with its band, four threads as a range alone."""
    one = estimate(board, cpu, latency, bound)
    slow, fast = sorted(latency.speedup_4_threads)
    shared: Number = {"name": "latency", "unit": "ms", "kind": "modelled", "model": "artifact"}
    shared["sequence"] = sequence
    return [
        shared | {
            "value": round(one.ms, 3), "low": round(one.low, 3), "high": round(one.high, 3),
            "threads": 1, "how": one.how, "bound_mcycles": round(bound.cycles / 1e6, 3),
            "bound_by": bound.model,
        },
        shared | {
            "value": None, "low": round(one.low / fast, 3), "high": round(one.high / slow, 3),
            "threads": 4, "how": f"that of one thread over {slow:g} to {fast:g}, as published for"
            " other models on such a board: a range, no value",
        },
    ]  # fmt: skip

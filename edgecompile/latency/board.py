"""What turns a board's counts into milliseconds: table [latency] of its target's file."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgecompile.errors import RecipeError

MCA, COUNTS = "llvm-mca", "counts"
"""The two models."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A board's factor, as the published times that it is fitted to, and how far to trust it.

    Anchor k took measured_ms[k] on one core at `anchor_clock_hz` (0: the board's own clock), and
    is bounded by resources_mcycles[k] million cycles by llvm-mca, by counts_mcycles[k] by counts
    alone. `scheduler` is llvm-mca's -mcpu. Bands are fractions: 0.25 is 25 % both ways. On four
    threads the published models ran speedup_4_threads[0] to [1] times as fast as on one.
    """

    scheduler: str
    band: float
    counts_band: float
    speedup_4_threads: tuple[float, ...]
    anchors: tuple[str, ...]
    measured_ms: tuple[float, ...]
    resources_mcycles: tuple[float, ...]
    counts_mcycles: tuple[float, ...]
    issue_width: int
    simd_units: int
    memory_units: int
    anchor_clock_hz: int = 0

    def __post_init__(self) -> None:
        """Refuse rows of different lengths, and numbers that are no times."""
        rows = (self.measured_ms, self.resources_mcycles, self.counts_mcycles)
        if not self.anchors or any(len(row) != len(self.anchors) for row in rows):
            msg = f"[latency]: each of the {len(self.anchors)} anchors needs one number a row"
            raise RecipeError(msg)
        numbers = [n for row in (*rows, self.speedup_4_threads) for n in row]
        if len(self.speedup_4_threads) != 2 or min(numbers) <= 0:
            msg = "[latency]: times, cycles and the two speedups must be above 0"
            raise RecipeError(msg)

    def bounds(self, model: str) -> tuple[float, ...]:
        """Return the anchors' million cycles by a model, MCA or COUNTS."""
        return self.resources_mcycles if model == MCA else self.counts_mcycles

    def band_of(self, model: str) -> float:
        """Return the band of a model."""
        return self.band if model == MCA else self.counts_band

    def ratios(self, model: str, clock_hz: int) -> list[float]:
        """Return each anchor's measured cycles over its bound."""
        clock = self.anchor_clock_hz or clock_hz
        pairs = zip(self.measured_ms, self.bounds(model), strict=True)
        return [ms / 1e3 * clock / (mcycles * 1e6) for ms, mcycles in pairs]

    def factor(self, model: str, clock_hz: int) -> float:
        """Return the geometric mean of the ratios: measured cycles for each cycle of a bound."""
        return geometric_mean(self.ratios(model, clock_hz))


def geometric_mean(numbers: Sequence[float]) -> float:
    """Return the n-th root of the product of n numbers above 0."""
    return math.exp(sum(math.log(number) for number in numbers) / len(numbers))


def leave_one_out(ratios: Sequence[float]) -> list[float]:
    """Return for each anchor how far off the others' factor puts it: 0.1 is 10 % too slow."""
    found = []
    for number, own in enumerate(ratios):
        others = [*ratios[:number], *ratios[number + 1 :]]
        found.append(geometric_mean(others) / own - 1 if others else 0.0)
    return found

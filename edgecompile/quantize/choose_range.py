"""A histogram of one activation -> the range that its 256 steps are spread over.

Narrow ranges have fine steps and saturate what lies outside; each method weighs that differently.
All keep 0 within the range, for a padding of zeros must stay exact.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from edgecompile.graph import FloatArray
from edgecompile.plan import Plan, affine

PERCENT = 99.99
FRACTIONS = np.linspace(1.0, 0.05, 96)
"""Shares of the full range that a search tries, the full one first."""

Range = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts [bins] of values evenly between `low` and `high`, and a moving average of both."""

    counts: FloatArray
    low: float
    high: float
    moving: Range

    @property
    def centres(self) -> FloatArray:
        """Return the middle of each bin, [bins]."""
        width = (self.high - self.low) / len(self.counts)
        return self.low + width * (np.arange(len(self.counts)) + 0.5)


def minmax(seen: Histogram) -> Range:
    """Keep all that was seen."""
    return seen.low, seen.high


def moving_average(seen: Histogram) -> Range:
    """Average each sample's own range, later ones with more weight (Jacob et al. 2018, 3.1)."""
    return seen.moving


def percentile(seen: Histogram) -> Range:
    """Cut 0.005 % of the values on each side."""
    tail = (1 - PERCENT / 100) / 2
    share = np.cumsum(seen.counts) / seen.counts.sum()
    first, last = np.searchsorted(share, [tail, 1 - tail])
    centres = seen.centres
    return float(centres[first]), float(centres[min(last, len(centres) - 1)])


def mse(seen: Histogram) -> Range:
    """Find the least mean squared error of the rounded, saturated values."""
    centres = seen.centres

    def loss(low: float, high: float) -> float:
        scale, zero = affine(low, high)
        q = np.clip(np.rint(centres / scale) + zero, 0, 255)
        return float((seen.counts * np.square((q - zero) * scale - centres)).sum())

    return _search(seen, loss)


def entropy(seen: Histogram) -> Range:
    """Find the range whose 256 steps tell the most of the distribution: least KL divergence.

    Migacz 2017, "8-bit inference with TensorRT": P saturates the outliers into its last bins, Q
    spreads the count of each step evenly over the bins that are not empty.
    """
    centres = seen.centres

    def loss(low: float, high: float) -> float:
        scale, zero = affine(low, high)
        inside = (centres >= low) & (centres <= high)
        p = np.where(inside, seen.counts, 0).astype(np.float64)
        first, last = np.flatnonzero(inside)[[0, -1]]
        p[first] += seen.counts[:first].sum()
        p[last] += seen.counts[last + 1 :].sum()
        steps = np.clip(np.rint(centres / scale) + zero, 0, 255).astype(int)
        full = (p > 0) & inside
        total = np.bincount(steps[inside], np.where(inside, seen.counts, 0)[inside], 256)
        filled = np.bincount(steps[full], minlength=256)
        q = np.where(full, (total / np.maximum(filled, 1))[steps], 0)
        p, q = p / p.sum(), q / max(q.sum(), 1)
        both = full & (q > 0)
        lost = p[full & (q <= 0)].sum()  # mass that Q does not know of
        return float((p[both] * np.log(p[both] / q[both])).sum() + 10 * lost)

    return _search(seen, loss)


def _search(seen: Histogram, loss: Callable[[float, float], float]) -> Range:
    """Narrow one end, then the other, twice; the wider range wins where two lose the same."""
    low, high = min(seen.low, 0.0), max(seen.high, 0.0)
    best = [low, high]
    for end in (1, 0, 1, 0):
        losses = []
        for fraction in FRACTIONS:
            tried = list(best)
            tried[end] = fraction * (low, high)[end]
            losses.append(loss(*tried) if tried[0] < tried[1] else np.inf)
        best[end] = float(FRACTIONS[int(np.argmin(losses))]) * (low, high)[end]
    return best[0], best[1]


RANGES: dict[str, Callable[[Histogram], Range]] = {
    "minmax": minmax,
    "moving-average": moving_average,
    "percentile": percentile,
    "entropy": entropy,
    "mse": mse,
}


def narrow_ranges(plan: Plan, seen: Mapping[str, Histogram], method: str) -> Plan:
    """Return the plan with each activation's range chosen by a method of RANGES."""
    activations = {}
    for name, activation in plan.activations.items():
        low, high = RANGES[method](seen[name])
        activations[name] = replace(activation, low=low, high=high)
    return replace(plan, activations=activations)

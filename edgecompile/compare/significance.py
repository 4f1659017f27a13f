"""Whether a difference is more than chance."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from edgecompile.graph import FloatArray

CHANCE = 0.05
"""A difference that chance alone makes less often than this is one."""
MOST_PAIRS = 16
"""2^16 ways to swap pairs are all tried; a bundle holds no more golden samples."""
FEWEST_PAIRS = 6
"""Fewer can never fall below CHANCE: the smallest p of n pairs is 2 / 2^n."""


def swap_test(differences: "FloatArray") -> float:
    """Return the two-sided p of paired differences, [n]: the exact sign-flip permutation test.

    Under chance alone each pair could as well have come the other way round (Fisher, The Design of
    Experiments, 1935, section 21). All 2^n ways are tried, of the first 16 pairs.

    >>> swap_test(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0]))
    0.03125
    """
    pairs = np.asarray(differences, np.float64)[:MOST_PAIRS]
    ways = np.arange(2 ** len(pairs))[:, None] >> np.arange(len(pairs)) & 1
    sums = np.abs((1 - 2 * ways) @ pairs)
    return float(np.mean(sums >= abs(pairs.sum()) * (1 - 1e-9)))


def median_interval(values: "FloatArray") -> tuple[float, float]:
    """Return a 95 % confidence interval of the median of [n] values, by their order alone.

    The k-th smallest and k-th largest, k the largest with P(Binomial(n, 1/2) < k) <= 2.5 %
    (Conover, Practical Nonparametric Statistics, 3.2). Below 6 values: smallest and largest.
    """
    from math import comb

    ordered = np.sort(np.asarray(values, np.float64))
    count, k, tail = len(ordered), 0, 0.0
    while k < count // 2:
        tail += comb(count, k) / 2**count
        if tail > CHANCE / 2:
            break
        k += 1
    k = max(k, 1)
    return float(ordered[k - 1]), float(ordered[-k])


@dataclass(frozen=True, slots=True)
class Interval:
    """A value and where the true one probably lies."""

    value: float
    low: float
    high: float

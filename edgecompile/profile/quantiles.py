"""A quantile of a few measurements, with an interval that assumes no shape of their distribution.

Order statistics (David and Nagaraja, Order Statistics, 3rd edition, section 7.1): of n independent
measurements, the a-th and the b-th smallest hold the p-quantile between them with the probability
that of n throws with chance p, a to b - 1 hit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

WANTED = 0.95
"""The probability with which an interval is to hold the quantile."""


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile, and the interval that holds it with the probability `confidence`.

    Of few measurements, that of a high quantile is less than what was wanted: the largest of 9 says
    little of the 99th percentile. Of a single one there is no interval.
    """

    value: float
    low: float | None
    high: float | None
    confidence: float | None


def quantile(values: Sequence[float], share: float, wanted: float = WANTED) -> Quantile:
    """Return the quantile of `share`, 0 to 1, in the unit of the values; it needs at least one.

    Between two values it is interpolated, as numpy does by default.
    """
    ordered = sorted(values)
    count = len(ordered)
    place = (count - 1) * share
    below = math.floor(place)
    above = min(below + 1, count - 1)
    value = ordered[below] + (ordered[above] - ordered[below]) * (place - below)
    if count == 1:
        return Quantile(value, None, None, None)
    first, last, held = _ranks(count, share, wanted)
    low, high = min(ordered[first - 1], value), max(ordered[last], value)
    return Quantile(value, low, high, held)


def _ranks(count: int, share: float, wanted: float) -> tuple[int, int, float]:
    """Return the hits [first, last] that are likeliest together, of 1 to count - 1, and how likely.

    No hit, or all, would need a measurement below the smallest or above the largest.
    """
    odds = [
        math.comb(count, hits) * share**hits * (1 - share) ** (count - hits)
        for hits in range(count + 1)
    ]
    odds[0] = odds[count] = 0.0
    first = last = max(range(1, count), key=lambda hits: odds[hits])
    held = odds[first]
    while held < wanted and (first > 1 or last < count - 1):
        if first > 1 and (last == count - 1 or odds[first - 1] >= odds[last + 1]):
            first -= 1
            held += odds[first]
        else:
            last += 1
            held += odds[last]
    return first, last, held

"""How many units each group may keep, and what is lost at each of these levels.

What a group loses is known in two steps: how much of what its readers give cannot be explained by
the units that are left, at each level; and how much the model's output loses (1 - R^2) when this
group alone is cut at one of them. The second scales the first.
"""

from collections.abc import Sequence

import numpy as np

from edgecompile.prune.spend_budget import Level
from edgecompile.prune.units import Order, Units, rows_of

WIDTH = 16
"""Channels go in multiples of this: matrix kernels work in blocks of 8 or 16."""
LEVELS = 24
TRIED = 0.5
"""At what share of a group's units its effect on the output is measured."""


def counts_of(units: Units) -> list[int]:
    """Return how many units may be kept, ascending; the last is all of them."""
    if units.kind == "heads" or units.count < 4 * WIDTH:
        return list(range(1, units.count + 1))
    step = max(WIDTH, round(units.count / LEVELS / WIDTH) * WIDTH)
    return [*range(step, units.count, step), units.count]


def losses_of(units: Units, order: Order, counts: Sequence[int]) -> list[float]:
    """Return which share of the readers' sums of squares is not explained at each level."""
    best_first = rows_of(order[::-1], units.block)
    explained = np.sum([reader.fit.explained(best_first) for reader in units.readers], axis=0)
    kept = explained[np.array(counts) * units.block - 1]
    return [float(share) for share in np.maximum(1 - kept / explained[-1], 0.0)]


def levels_of(
    counts: Sequence[int], lost: Sequence[float], costs: Sequence[float], tried: int, harm: float
) -> list[Level]:
    """Return the levels of a group; cut to `tried` units alone, it costs the output `harm`."""
    scale = harm / max(lost[counts.index(tried)], 1e-12)
    return [
        Level(count, cost, scale * loss)
        for count, cost, loss in zip(counts, costs, lost, strict=True)
    ]

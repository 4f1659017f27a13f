"""Spend a budget over groups: how many units each keeps, so that the least is lost.

A knapsack with one choice a group, solved by dynamic programming over the budget (Kurtic et al.
2023, ZipLM, section 3.3; Frantar and Alistarh 2022, SPDY).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 4096
"""Into how many steps a budget is divided; costs are rounded up, so that it holds."""


@dataclass(frozen=True, slots=True)
class Level:
    """One choice for a group: units kept, what it costs, what is lost."""

    kept: int
    cost: float
    loss: float


def spend_budget(groups: Sequence[Sequence[Level]], budget: float) -> list[Level] | None:
    """Return a level for each group whose costs are within the budget, or None if none are."""
    step = budget / STEPS if budget > 0 else 1.0
    best = np.zeros(STEPS + 1)
    choices = []
    for levels in groups:
        totals = np.full((len(levels), STEPS + 1), np.inf)
        for number, level in enumerate(levels):
            cost = int(np.ceil(level.cost / step - 1e-9))
            if cost <= STEPS:
                totals[number, cost:] = best[: STEPS + 1 - cost] + level.loss
        choices.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    if not np.isfinite(best[STEPS]):
        return None
    left, chosen = STEPS, []
    for levels, choice in zip(reversed(groups), reversed(choices), strict=True):
        level = levels[choice[left]]
        chosen.append(level)
        left -= int(np.ceil(level.cost / step - 1e-9))
    return chosen[::-1]

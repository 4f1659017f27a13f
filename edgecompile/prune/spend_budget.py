"""Spend a budget over groups: how many units each keeps, so that the least is lost.

A knapsack with one choice a group, solved by dynamic programming over the budget (Kurtic et al.
2023, ZipLM, section 3.3; Frantar and Alistarh 2022, SPDY).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

STEPS = 4096
"""Into how many steps a budget is divided; costs are rounded up, so that it holds."""
MOST_STEPS = 1 << 16
"""Whole numbers are not rounded, if so many steps suffice."""


@dataclass(frozen=True, slots=True)
class Level:
    """One choice for a group: units kept, what it costs, what is lost."""

    kept: int
    cost: float
    loss: float


def spend_budget(groups: Sequence[Sequence[Level]], budget: float) -> list[Level] | None:
    """Return a level for each group whose costs are within the budget, or None if none are."""
    if budget <= 0:
        return None
    step = _step([level.cost for levels in groups for level in levels], budget)
    steps = int(budget / step + 1e-9)
    costs = [[math.ceil(level.cost / step - 1e-9) for level in levels] for levels in groups]
    best = np.zeros(steps + 1)
    choices = []
    for levels, row in zip(groups, costs, strict=True):
        totals = np.full((len(levels), steps + 1), np.inf)
        for number, (level, cost) in enumerate(zip(levels, row, strict=True)):
            if cost <= steps:
                totals[number, cost:] = best[: steps + 1 - cost] + level.loss
        choices.append(totals.argmin(axis=0))
        best = totals.min(axis=0)
    if not np.isfinite(best[steps]):
        return None
    left, chosen = steps, []
    for levels, row, choice in zip(*map(reversed, (groups, costs, choices)), strict=True):
        number = int(choice[left])
        chosen.append(levels[number])
        left -= row[number]
    return chosen[::-1]


def _step(costs: Sequence[float], budget: float) -> float:
    """Return what costs are counted in: what divides them all, or a share of the budget."""
    if all(cost == int(cost) for cost in costs):
        whole = math.gcd(*(int(cost) for cost in costs)) or 1
        if budget / whole <= MOST_STEPS:
            return float(whole)
    return budget / STEPS

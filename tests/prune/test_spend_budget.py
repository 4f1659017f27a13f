"""A budget is spent so that the least is lost."""

import itertools

from hypothesis import given
from hypothesis import strategies as st

from edgecompile.prune.spend_budget import Level, spend_budget

costs = st.integers(0, 30)
losses = st.integers(0, 50).map(float)
levels = st.lists(st.tuples(costs, losses), min_size=1, max_size=5)


def _best(groups: list[list[Level]], budget: float) -> float | None:
    """Try every choice."""
    sums = [
        sum(level.loss for level in choice)
        for choice in itertools.product(*groups)
        if sum(level.cost for level in choice) <= budget
    ]
    return min(sums, default=None)


@given(st.lists(levels, min_size=1, max_size=4), st.integers(1, 100))
def test_no_other_choice_loses_less(rows: list[list[tuple[int, float]]], budget: int) -> None:
    """What is chosen holds the budget, and is as good as the best of all choices."""
    groups = [[Level(i, float(c), x) for i, (c, x) in enumerate(row)] for row in rows]
    chosen = spend_budget(groups, budget)
    best = _best(groups, budget)
    assert (chosen is None) == (best is None)
    if chosen is not None:
        assert all(level in group for level, group in zip(chosen, groups, strict=True))
        assert sum(level.cost for level in chosen) <= budget
        assert sum(level.loss for level in chosen) == best


@given(st.lists(levels, min_size=1, max_size=3), st.floats(1.0, 100.0))
def test_fractions_never_break_the_budget(
    rows: list[list[tuple[int, float]]], budget: float
) -> None:
    """Costs that are no whole numbers are rounded up; little is lost by it."""
    groups = [[Level(i, c / 7, x) for i, (c, x) in enumerate(row)] for row in rows]
    chosen = spend_budget(groups, budget)
    if chosen is not None:
        assert sum(level.cost for level in chosen) <= budget * (1 + 1e-9)
        tighter = _best(groups, budget * (1 - 1e-3))
        assert tighter is None or sum(level.loss for level in chosen) <= tighter
    else:
        assert _best(groups, budget * (1 - 1e-3)) is None


def test_a_budget_that_is_filled_to_the_last_unit_is_met() -> None:
    """Six groups of 1536 channels in steps of 64: three quarters are 108 steps, not 107."""
    row = [Level(kept, float(kept), (1536 - kept) ** 2.0) for kept in range(64, 1537, 64)]
    chosen = spend_budget([row] * 6, 0.75 * 6 * 1536)
    assert chosen is not None
    assert [level.kept for level in chosen] == [1152] * 6


def test_nothing_can_be_bought_for_nothing() -> None:
    """What is fixed may cost more than the budget: then no choice is within it."""
    assert spend_budget([[Level(1, 1.0, 0.0)]], 0.0) is None
    assert spend_budget([[Level(1, 1.0, 0.0)]], -5.0) is None

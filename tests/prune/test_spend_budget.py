"""A budget over groups: spent to the last unit where costs are whole, never exceeded."""

import itertools
import math

from hypothesis import given
from hypothesis import strategies as st

from edgecompile.prune.spend_budget import Level, spend_budget


def heads(*losses: float) -> list[Level]:
    """Return a group that may keep 1, 2, ... units, each at a cost of 1."""
    return [Level(kept, float(kept), loss) for kept, loss in enumerate(losses, 1)]


def test_whole_units_are_spent_to_the_last_one() -> None:
    """9 of 12 heads: a budget cut into 4,096 steps of rounded costs once had room for 8."""
    groups = [heads(0.9, 0.5, 0.2, 0.0)] * 3
    chosen = spend_budget(groups, 9)
    assert chosen is not None
    assert sum(level.kept for level in chosen) == 9


@given(
    st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1, max_size=4),
    st.integers(1, 16),
)
def test_nothing_better_is_within_the_budget(losses: list[list[float]], budget: int) -> None:
    """Compared with every choice that there is."""
    groups = [heads(*row) for row in losses]
    choices = [c for c in itertools.product(*groups) if sum(x.cost for x in c) <= budget]
    found = spend_budget(groups, budget)
    assert (found is None) == (not choices)
    if found is not None:
        best = min(sum(level.loss for level in choice) for choice in choices)
        assert sum(level.cost for level in found) <= budget
        assert math.isclose(sum(level.loss for level in found), best, abs_tol=1e-9)

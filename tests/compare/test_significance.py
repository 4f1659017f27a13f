"""Chance and differences, against what is known of them."""

import numpy as np
import pytest

from edgecompile.compare.significance import median_interval, swap_test


def test_swapping_pairs_is_exact() -> None:
    """All on one side of n: 2 in 2^n ways; on both sides alike: always."""
    for count in (1, 4, 6, 10):
        assert swap_test(np.full(count, -0.3)) == pytest.approx(2 / 2**count)
    assert swap_test(np.array([1.0, -1.0, 2.0, -2.0])) == 1.0
    assert swap_test(np.zeros(8)) == 1.0


def test_chance_alone_is_rarely_called_a_difference(random: np.random.Generator) -> None:
    """At most 5 in 100 of what is no difference at all."""
    found = [swap_test(random.normal(size=12)) < 0.05 for _ in range(400)]
    assert np.mean(found) < 0.08


def test_the_medians_interval_holds_it_95_times_in_100(random: np.random.Generator) -> None:
    """Skewed as times are; the textbook's ranks for n = 31 are 10 and 22."""
    assert median_interval(np.arange(1.0, 32.0)) == (10.0, 22.0)
    held = 0
    for _ in range(400):
        low, high = median_interval(random.exponential(size=31))
        held += low <= np.log(2) <= high
    assert held / 400 > 0.92

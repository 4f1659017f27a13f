"""Quantiles: the interval holds what it says, as often as it says."""

import numpy as np
import pytest

from edgecompile.profile.quantiles import WANTED, quantile


@pytest.mark.parametrize(("count", "share"), [(9, 0.5), (15, 0.5), (40, 0.9), (9, 0.99)])
def test_the_interval_holds_the_truth_as_often_as_it_says(count: int, share: float) -> None:
    """For a skewed distribution, whose quantiles are known."""
    truth = -np.log(1 - share)
    draws = np.random.default_rng(0).exponential(size=(4000, count))
    found = [quantile(row.tolist(), share) for row in draws]
    held = np.mean([row.low <= truth <= row.high for row in found])  # type: ignore[operator]
    said = found[0].confidence
    assert said is not None
    assert held >= said - 0.02
    if share == 0.5:
        assert said >= WANTED
        assert held <= said + 0.02


def test_few_runs_say_little_of_the_99th_percentile() -> None:
    """What was wanted cannot be had: the confidence says how far it is from it."""
    confidence = quantile(list(range(9)), 0.99).confidence
    assert confidence is not None
    assert confidence < 0.1


def test_one_outlier_does_not_move_the_median() -> None:
    """A run that something else interrupted changes neither the value nor the interval."""
    quiet = [10.0 + n / 10 for n in range(15)]
    assert quantile([*quiet[:-1], 1000.0], 0.5) == quantile(quiet, 0.5)


def test_one_run_has_no_interval() -> None:
    """Nothing is known of how far another one would be."""
    found = quantile([3.0], 0.5)
    assert (found.value, found.low, found.high, found.confidence) == (3.0, None, None, None)


def test_the_value_is_numpys() -> None:
    """Quantiles are interpolated as everybody's are."""
    values = np.random.default_rng(1).normal(size=23).tolist()
    for share in (0.5, 0.9, 0.99):
        assert quantile(values, share).value == pytest.approx(np.quantile(values, share))

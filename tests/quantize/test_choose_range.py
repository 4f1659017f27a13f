"""A histogram -> a range: what each method keeps and what it cuts."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile import recipe
from edgecompile.plan import Activation, Plan, affine
from edgecompile.quantize.choose_range import RANGES, Histogram, narrow_ranges

Array = npt.NDArray[Any]

BINS = 2048


def histogram(x: Array, moving: tuple[float, float] = (0.0, 0.0)) -> Histogram:
    """Return a tensor's histogram between its own bounds."""
    counts, _ = np.histogram(x, BINS, (x.min(), x.max()))
    return Histogram(counts, float(x.min()), float(x.max()), moving)


def error(x: Array, low: float, high: float) -> float:
    """Return the mean squared error of rounding to a range."""
    scale, zero = affine(low, high)
    q = np.clip(np.rint(x / scale) + zero, 0, 255)
    return float(np.square((q - zero) * scale - x).mean())


@pytest.fixture(scope="module")
def outlier() -> Array:
    """Return a normal distribution of 100,000 values, and one value at 60."""
    x = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    x[0] = 60
    return x


def test_the_recipe_knows_every_method() -> None:
    """What can be asked for is what there is."""
    assert set(RANGES) == set(recipe.QUANTIZE["ranges"])


def test_minmax_keeps_all(outlier: Array) -> None:
    """The bounds are those that were seen."""
    assert RANGES["minmax"](histogram(outlier)) == (outlier.min(), 60)


def test_a_moving_average_is_the_histograms_own(outlier: Array) -> None:
    """It was taken while the samples ran."""
    assert RANGES["moving-average"](histogram(outlier, (-3.0, 4.0))) == (-3, 4)


def test_percentile_cuts_its_share(outlier: Array) -> None:
    """0.005 % of the values lie outside on each side, to within a bin."""
    low, high = RANGES["percentile"](histogram(outlier))
    assert (outlier < low).mean() == pytest.approx(0.00005, abs=0.00004)
    assert (outlier > high).mean() == pytest.approx(0.00005, abs=0.00004)


def test_entropy_saturates_a_lone_outlier(outlier: Array) -> None:
    """One value of 100,000 does not stretch the steps of all others."""
    low, high = RANGES["entropy"](histogram(outlier))
    assert high < 10
    assert low <= -2.5
    rest = outlier[1:]
    assert error(rest, low, high) < error(rest, *RANGES["minmax"](histogram(outlier))) / 20


@pytest.mark.parametrize("method", ["mse", "entropy"])
def test_an_even_distribution_is_kept_whole(method: str) -> None:
    """Where no value is rare, nothing is cut."""
    x = np.linspace(-2, 3, 50_000, dtype=np.float32)
    assert RANGES[method](histogram(x)) == pytest.approx((-2, 3))


@given(
    scale=st.floats(0.1, 100),
    shift=st.floats(-2, 2),
    method=st.sampled_from(["mse", "entropy", "percentile"]),
)
def test_a_range_lies_within_what_was_seen(scale: float, shift: float, method: str) -> None:
    """Or reaches out to 0, which every range must hold."""
    x = (np.random.default_rng(1).standard_t(3, size=5000) + shift).astype(np.float32) * scale
    low, high = RANGES[method](histogram(x))
    assert min(x.min(), 0) <= low < high <= max(x.max(), 0) + 1e-3 * scale


def test_mse_is_no_worse_than_minmax_on_what_it_saw(outlier: Array) -> None:
    """It searches from the whole range on."""
    found = RANGES["mse"](histogram(outlier))
    assert error(outlier, *found) <= error(outlier, float(outlier.min()), 60)


def test_narrowing_changes_ranges_alone(outlier: Array) -> None:
    """Factors, means and exceptions stay as the plan had them."""
    ones = np.ones(4, np.float32)
    plan = Plan({"x": Activation(-9.0, 60.0, ones, ones, 0.5)}, {"head": "why"}, embeddings="int8")
    narrowed = narrow_ranges(plan, {"x": histogram(outlier)}, "percentile")
    assert narrowed.activations["x"].high < 10
    assert narrowed.activations["x"].smoothing is ones
    assert (narrowed.kept_float, narrowed.embeddings) == ({"head": "why"}, "int8")

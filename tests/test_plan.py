"""The plan: affine ranges of activations."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgecompile.plan import FLOAT, affine

thorough = settings(max_examples=100)

ends = st.floats(-1e6, 1e6, allow_nan=False)


@pytest.mark.parametrize("bits", [8, 16])
@thorough
@given(a=ends, b=ends)
def test_range_holds_zero_exactly(bits: int, a: float, b: float) -> None:
    """The zero point is one of the integers, so 0 is represented without error."""
    scale, zero = affine(min(a, b), max(a, b), bits)
    assert isinstance(zero, int)
    assert 0 <= zero <= 2**bits - 1
    assert scale > 0


@pytest.mark.parametrize("bits", [8, 16])
@thorough
@given(a=ends, b=ends, part=st.floats(0, 1))
def test_value_in_the_range_is_within_one_step(bits: int, a: float, b: float, part: float) -> None:
    """Any value between the ends comes back within half a step, and half more at the ends."""
    low, high = min(a, b), max(a, b)
    scale, zero = affine(low, high, bits)
    x = min(max(low + part * (high - low), low), high)
    q = np.clip(np.rint(x / scale) + zero, 0, 2**bits - 1)
    assert abs(scale * (q - zero) - x) <= scale * (1 + 1e-6)
    inside = scale <= x - low
    if inside and scale <= high - x:
        assert abs(scale * (q - zero) - x) <= scale * (0.5 + 1e-6)


@pytest.mark.parametrize(
    ("low", "high", "scale", "zero"),
    [
        (0, 255, 1, 0),
        (-255, 0, 1, 255),
        (-1, 254, 1, 1),
        (-127.5, 127.5, 1, 128),
        (10, 255, 1, 0),
        (-255, -10, 1, 255),
        (-2, 8, 10 / 255, 51),
        (0, 0, 1e-12, 0),
    ],
)
def test_known_ranges(low: float, high: float, scale: float, zero: int) -> None:
    """A range is widened to reach 0; one of no width still has a scale."""
    assert affine(low, high) == (pytest.approx(scale, rel=1e-12), zero)


def test_float_plan_quantizes_nothing() -> None:
    """Lowering with the float plan leaves every Linear and every table float."""
    assert (FLOAT.activations, FLOAT.kept_float, FLOAT.embeddings) == ({}, {}, "")

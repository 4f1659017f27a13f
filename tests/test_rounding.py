"""Rounding to int8: bit-exact against plain loops, within half a step, and safe for pairs."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgecompile.rounding import PAIR_LIMIT, quantize_rows, quantize_weight

KINDS = ("int8", "int8-pairs")
SLACK = 1e-4
"""Steps by which float32 division may miss: 127 x 2^-23 and some."""

thorough = settings(max_examples=100)

magnitudes = st.floats(2**-20, 2**10, width=32)
numbers = st.one_of(st.just(0.0), magnitudes, magnitudes.map(lambda v: -v))
weights = hnp.arrays(
    np.float32, st.tuples(st.integers(1, 9), st.integers(1, 4)), elements=numbers, fill=numbers
)
OVER = np.array([[6.2503275871276855], [3.106888771057129]], np.float32)
"""A pair that sums to 128 steps exactly, and to 129 when each is rounded: 86 + 43."""


def reference(weight: np.ndarray, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Quantize with loops over columns and pairs, as the docstring of quantize_weight says."""
    q, scales = np.zeros(weight.shape, np.int8), np.ones(weight.shape[1], np.float32)
    for column in range(weight.shape[1]):
        w = list(weight[:, column]) + [np.float32(0)] * (len(weight) % 2)
        pairs = list(zip(w[::2], w[1::2], strict=True))
        scale = max(abs(v) for v in w) / np.float32(127)
        if kind == "int8-pairs":
            for a, b in pairs:
                for sign in (1, -1):
                    total = max(sign * a, np.float32(0)) + max(sign * b, np.float32(0))
                    scale = max(scale, total / np.float32(PAIR_LIMIT))
        scale = scale if scale > 0 else np.float32(1)
        rounded = [max(-127, min(127, int(np.rint(v / scale)))) for v in w]
        if kind == "int8-pairs":
            for i in range(0, len(rounded), 2):
                a, b = rounded[i : i + 2]
                if abs(a + b) > PAIR_LIMIT and a * b > 0:
                    larger = i if abs(a) >= abs(b) else i + 1
                    rounded[larger] -= int(np.sign(rounded[larger]))
        q[:, column], scales[column] = rounded[: len(weight)], scale
    return q, scales


def largest_pair(q: np.ndarray) -> int:
    """Return the largest sum, over rows 2i and 2i + 1, of the weights of one sign."""
    wide = np.concatenate([q, np.zeros_like(q[: len(q) % 2])]).astype(int)
    pairs = wide.reshape(-1, 2, q.shape[1])
    by_sign = (np.maximum(sign * pairs, 0).sum(axis=1).max(initial=0) for sign in (1, -1))
    return max(int(total) for total in by_sign)


@pytest.mark.parametrize("kind", KINDS)
@thorough
@given(weight=weights)
@example(weight=OVER)
@example(weight=-OVER[::-1])
def test_weights_are_bit_exact(kind: str, weight: np.ndarray) -> None:
    """Integers and scales are, bit for bit, those of plain loops in float32."""
    q, scale = quantize_weight(weight, kind)
    expected, expected_scale = reference(weight, kind)
    np.testing.assert_array_equal(q, expected)
    np.testing.assert_array_equal(scale.view(np.uint32), expected_scale.view(np.uint32))


@pytest.mark.parametrize("kind", KINDS)
@thorough
@given(weight=weights)
@example(weight=OVER)
@example(weight=-OVER)
def test_weights_are_within_half_a_step(kind: str, weight: np.ndarray) -> None:
    """No weight is further than half a step of its column from what it was, none is -128."""
    q, scale = quantize_weight(weight, kind)
    assert (q.dtype, scale.dtype) == (np.int8, np.float32)
    assert (q.shape, scale.shape) == (weight.shape, weight.shape[1:])
    assert q.min() >= -127
    error = np.abs(weight.astype(np.float64) - q * scale.astype(np.float64))
    assert (error <= scale * (0.5 + SLACK)).all()


@thorough
@given(weight=weights)
@example(weight=OVER)
@example(weight=-OVER)
@example(weight=np.concatenate([OVER, OVER[:1]]))
def test_no_pair_exceeds_the_limit(weight: np.ndarray) -> None:
    """For "int8-pairs" no two rows 2i, 2i + 1 sum to more than 128 of either sign."""
    q, _ = quantize_weight(weight, "int8-pairs")
    assert largest_pair(q) <= PAIR_LIMIT


def test_limit_is_the_largest_that_fits_16_bits() -> None:
    """An activation of 255 times the limit fits a signed 16-bit sum, and one more would not."""
    top = np.iinfo(np.int16).max
    assert 255 * PAIR_LIMIT <= top < 255 * (PAIR_LIMIT + 1)


def test_rounding_over_the_limit_is_taken_back() -> None:
    """A pair that rounds to 129 loses one step, off its larger weight."""
    plain = np.rint(OVER / quantize_weight(OVER, "int8-pairs")[1])
    np.testing.assert_array_equal(plain, [[86], [43]])
    np.testing.assert_array_equal(quantize_weight(OVER, "int8-pairs")[0], [[85], [43]])
    np.testing.assert_array_equal(quantize_weight(-OVER, "int8-pairs")[0], [[-85], [-43]])
    np.testing.assert_array_equal(quantize_weight(OVER[::-1], "int8-pairs")[0], [[43], [85]])


@pytest.mark.parametrize(
    ("column", "expected"),
    [
        ([1, 1], [64, 64]),
        ([1, -1], [127, -127]),
        ([-1, -1, 1], [-64, -64, 64]),
        ([0, 1, 1, 0], [0, 127, 127, 0]),
        ([127, 1], [127, 1]),
        ([1], [127]),
        ([0.5, 0.5, 1], [64, 64, 127]),
    ],
)
def test_pairs_cost_no_more_than_they_must(column: list[float], expected: list[int]) -> None:
    """Only two large neighbours of one sign make the step larger; an odd last row is alone."""
    q, _ = quantize_weight(np.array(column, np.float32)[:, None], "int8-pairs")
    assert q[:, 0].tolist() == expected


@pytest.mark.parametrize("kind", KINDS)
def test_halves_go_to_the_even_neighbour(kind: str) -> None:
    """A weight midway between two steps takes the even one, as numpy and onnxruntime round."""
    halves = np.array([127, 0.5, 1.5, 2.5, -0.5, -1.5, -2.5], np.float32)[:, None]
    assert quantize_weight(halves, kind)[0][:, 0].tolist() == [127, 0, 2, 2, 0, -2, -2]
    assert quantize_rows(halves.T)[0][0].tolist() == [127, 0, 2, 2, 0, -2, -2]


@pytest.mark.parametrize("kind", KINDS)
def test_columns_do_not_touch_each_other(kind: str) -> None:
    """Each column has a scale of its own, and a column of zeros is zeros with a scale of 1."""
    weight = np.array([[0, 1e-6, 1000], [0, 0, 1], [0, -1e-6, 3]], np.float32)
    q, scale = quantize_weight(weight, kind)
    for column in range(3):
        alone, alone_scale = quantize_weight(weight[:, column : column + 1], kind)
        np.testing.assert_array_equal(q[:, column : column + 1], alone)
        np.testing.assert_array_equal(scale[column], alone_scale[0])
    assert scale[0] == 1
    assert not q[:, 0].any()


@thorough
@given(weights.filter(lambda weight: bool(weight.any(axis=0).all())))
def test_int8_uses_its_whole_range(weight: np.ndarray) -> None:
    """The largest weight of each column becomes 127 or -127."""
    q, _ = quantize_weight(weight, "int8")
    assert (np.abs(q.astype(int)).max(axis=0) == 127).all()


@pytest.mark.parametrize("kind", KINDS)
def test_weights_are_left_as_they_are(kind: str) -> None:
    """Rounding writes into no array that it is given."""
    weight = np.array([[1, 2], [3, -4], [5, 6]], np.float32)
    before = weight.copy()
    quantize_weight(weight, kind)
    quantize_rows(weight)
    np.testing.assert_array_equal(weight, before)


@thorough
@given(weights)
def test_rows_have_a_scale_each(table: np.ndarray) -> None:
    """An embedding table is rounded like its transpose's columns, and its scales are [rows, 1]."""
    q, scale = quantize_rows(table)
    expected, expected_scale = reference(np.ascontiguousarray(table.T), "int8")
    assert (q.dtype, scale.dtype, scale.shape) == (np.int8, np.float32, (len(table), 1))
    np.testing.assert_array_equal(q, expected.T)
    np.testing.assert_array_equal(scale[:, 0], expected_scale)


def test_row_of_zeros_stays_zero() -> None:
    """A row of zeros (often that of the padding token) comes back as zeros."""
    table = np.array([[0, 0], [1, -2]], np.float32)
    q, scale = quantize_rows(table)
    np.testing.assert_array_equal(q * scale, [[0, 0], [np.float32(64) * scale[1, 0], -2]])

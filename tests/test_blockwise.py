"""Rounding by blocks of 32, and its bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.blockwise import BLOCK, pack, quantize_blocks


@pytest.mark.parametrize("bits", [4, 8])
@given(rows=st.integers(1, 70), columns=st.integers(1, 5), seed=st.integers(0, 9))
def test_no_weight_is_further_off_than_its_blocks_step(
    bits: int, rows: int, columns: int, seed: int
) -> None:
    """Half a step by rounding, and at most half a one where 4 bits round the zero point too."""
    weight = np.random.default_rng(seed).normal(size=(rows, columns)).astype(np.float32)
    q, scale, zero = quantize_blocks(weight, bits)
    assert q.shape == (columns, -(-rows // BLOCK), BLOCK)
    assert q.dtype == zero.dtype == np.uint8
    assert q.max() < 2**bits
    found = (q.astype(np.float32) - zero[..., None]) * scale[..., None]
    found = found.reshape(columns, -1)
    steps = np.repeat(scale, BLOCK, axis=1)[:, :rows]
    limit = 0.5 if bits == 8 else 1.0
    assert (np.abs(found[:, :rows] - weight.T) <= (limit + 1e-3) * steps).all()
    assert not found[:, rows:].any()


def test_eight_bits_are_symmetric() -> None:
    """A block's largest magnitude is 127 steps; 0 is 128."""
    weight = np.array([[-2.0], [1.0], [0.0]], np.float32)
    q, scale, zero = quantize_blocks(weight, 8)
    np.testing.assert_array_equal(q[0, 0, :4], [1, 192, 128, 128])
    assert (scale.item(), zero.item()) == (pytest.approx(2 / 127), 128)


def test_four_bits_use_all_their_steps() -> None:
    """A block's least weight is 0, its greatest 15, and 0.0 is its zero point."""
    weight = np.array([[-1.0], [2.0], [0.0], [0.4]], np.float32)
    q, scale, zero = quantize_blocks(weight, 4)
    np.testing.assert_array_equal(q[0, 0, :4], [0, 15, 5, 7])
    assert (scale.item(), zero.item()) == (pytest.approx(0.2), 5)


@pytest.mark.parametrize("bits", [4, 8])
def test_a_block_of_zeros_stays_zero(bits: int) -> None:
    """Its scale is a number that can be multiplied with."""
    q, scale, zero = quantize_blocks(np.zeros((40, 2), np.float32), bits)
    assert (q == zero[..., None]).all()
    assert (scale == 1).all()


def test_four_bits_go_two_a_byte_the_first_low() -> None:
    """An odd end is padded; 8 bits are bytes already."""
    q = np.array([[1, 2, 15]], np.uint8)
    np.testing.assert_array_equal(pack(q, 4), [[0x21, 0x0F]])
    np.testing.assert_array_equal(pack(q, 8), q)


@pytest.mark.parametrize("bits", [4, 8])
def test_gptq_loses_less_of_the_output_within_the_same_steps(bits: int) -> None:
    """On activations that go together; scales and zero points are those of the nearest rounding."""
    random = np.random.default_rng(5)
    x = random.normal(size=(3000, 24)) @ random.normal(size=(24, 96))
    weight = random.normal(size=(96, 16)).astype(np.float32)
    errors, ranges = [], []
    for hessian in (None, (x.T @ x / len(x)).astype(np.float32)):
        q, scale, zero = quantize_blocks(weight, bits, hessian)
        assert q.max() < 2**bits
        rounded = (q.astype(np.float32) - zero[..., None]) * scale[..., None]
        errors.append(np.square(x @ (rounded.reshape(16, -1).T - weight)).mean())
        ranges.append((scale, zero))
    assert errors[1] < 0.5 * errors[0]
    for nearest, gptq in zip(*ranges, strict=True):
        np.testing.assert_array_equal(nearest, gptq)

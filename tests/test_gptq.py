"""GPTQ: rounding by what the weights are multiplied with."""

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgecompile.gptq import DAMPING, round_rows
from edgecompile.rounding import PAIR_LIMIT, quantize_weight

Array = npt.NDArray[Any]


def plain(_row: int, values: Array) -> Array:
    """Round to the nearest integer, without bounds."""
    return np.asarray(np.rint(values))


def correlated(rows: int, tokens: int = 4000) -> Array:
    """Return activations [tokens, rows] that go together, as those of a network do."""
    random = np.random.default_rng(rows)
    return random.normal(size=(tokens, rows // 4)) @ random.normal(size=(rows // 4, rows))


def by_the_book(steps: Array, hessian: Array) -> Array:
    """Run the algorithm of section 3.3 without blocks."""
    w, h = steps.astype(np.float64).copy(), hessian.astype(np.float64).copy()
    h += DAMPING * np.diag(h).mean() * np.eye(len(h))
    upper = np.linalg.cholesky(np.linalg.inv(h)).T
    q = np.zeros_like(w)
    for i in range(len(w)):
        q[i] = np.rint(w[i])
        w[i + 1 :] -= np.outer(upper[i, i + 1 :], (w[i] - q[i]) / upper[i, i])
    return q


@pytest.mark.parametrize("rows", [4, 128, 200, 300])
def test_blocks_change_nothing(rows: int) -> None:
    """Corrections that are applied together are the same corrections."""
    x = correlated(rows)
    steps = np.random.default_rng(1).normal(size=(rows, 7)) * 40
    hessian = x.T @ x / len(x)
    found = round_rows(steps, hessian, plain)
    assert np.mean(found != by_the_book(steps, hessian)) < 0.002  # ties of floating point


def test_independent_inputs_round_to_the_nearest() -> None:
    """Nothing can be made up for where no activation knows of another."""
    steps = np.random.default_rng(2).normal(size=(16, 5)) * 9
    np.testing.assert_array_equal(round_rows(steps, np.eye(16), plain), np.rint(steps))


@pytest.mark.parametrize("kind", ["int8", "int8-pairs"])
def test_the_output_loses_less(kind: str) -> None:
    """On activations that go together, the error is well below that of the nearest rounding."""
    x = correlated(64)
    weight = np.random.default_rng(3).normal(size=(64, 32)).astype(np.float32)
    hessian = (x.T @ x / len(x)).astype(np.float32)
    errors = []
    for known in (None, hessian):
        q, scale = quantize_weight(weight, kind, known)
        errors.append(np.square(x @ (q * scale - weight)).mean())
    assert errors[1] < 0.5 * errors[0]


@given(seed=st.integers(0, 2**16), rows=st.integers(2, 40))
def test_pairs_stay_within_their_limit(seed: int, rows: int) -> None:
    """What is made up for never drives a pair of rows into saturation."""
    random = np.random.default_rng(seed)
    weight = random.standard_t(2, size=(rows, 6)).astype(np.float32)
    x = random.normal(size=(50, rows))
    q, _ = quantize_weight(weight, "int8-pairs", x.T @ x / 50)
    wide = np.concatenate([q, np.zeros_like(q[: rows % 2])]).astype(int).reshape(-1, 2, 6)
    assert np.maximum(wide, 0).sum(axis=1).max() <= PAIR_LIMIT
    assert np.maximum(-wide, 0).sum(axis=1).max() <= PAIR_LIMIT


def test_dead_inputs_are_no_trouble() -> None:
    """A channel that is always 0 has no Hessian to invert: damping gives it one."""
    hessian = np.zeros((4, 4), np.float32)
    hessian[0, 0] = 1
    q, scale = quantize_weight(np.eye(4, dtype=np.float32), "int8", hessian)
    np.testing.assert_allclose(q * scale, np.eye(4), atol=0.01)

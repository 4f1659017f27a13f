"""The weights that make the most of the units that are left are those of least squares."""

import numpy as np
import pytest

from edgecompile.prune import fit_weights
from edgecompile.prune.fit_weights import normal_equations
from edgecompile.prune.moments import Moments

TOKENS, WIDTH, OUT = 300, 70, 9


@pytest.fixture
def numbers() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return x [tokens, width] with a mean, a weight [width, out], and y = x W + b."""
    random = np.random.default_rng(0)
    x = random.normal(1.0, 1.0, (TOKENS, WIDTH)) @ random.normal(size=(WIDTH, WIDTH))
    weight = random.normal(size=(WIDTH, OUT))
    y = x @ weight + random.normal(size=OUT)
    return x.astype(np.float32), weight.astype(np.float32), y.astype(np.float32)


def _moments(x: np.ndarray, y: np.ndarray, *, centred: bool) -> Moments:
    moments = Moments(WIDTH, OUT, centred=centred)
    for rows in np.array_split(np.arange(len(x)), 7):  # as samples come in
        moments.add(x[rows], y[rows])
    return moments


@pytest.mark.parametrize("centred", [True, False])
def test_it_is_least_squares(
    numbers: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch, *, centred: bool
) -> None:
    """Without damping, numpy's own solver gives the same weight and bias."""
    monkeypatch.setattr(fit_weights, "DAMPING", 1e-12)
    x, weight, y = numbers
    rows = np.arange(0, WIDTH, 2)
    found, bias = normal_equations(_moments(x, y, centred=centred), weight).solve(rows)
    table = np.hstack([x[:, rows], np.ones((TOKENS, int(centred)))]).astype(np.float64)
    wanted = np.linalg.lstsq(table, y.astype(np.float64), rcond=None)[0]
    np.testing.assert_allclose(found, wanted[: len(rows)], rtol=2e-3, atol=2e-3)
    if centred:
        np.testing.assert_allclose(bias, wanted[-1], rtol=2e-3, atol=2e-2)


def test_whole_it_stays_as_it_was(numbers: tuple[np.ndarray, ...]) -> None:
    """With all units there, the weight is the dense one, damped or not."""
    _x, weight, _y = numbers
    x = np.random.default_rng(2).normal(size=(TOKENS, WIDTH)).astype(np.float32)
    y = x @ weight + np.float32(3.0)
    found, bias = normal_equations(_moments(x, y, centred=True), weight).solve(np.arange(WIDTH))
    np.testing.assert_allclose(found, weight, atol=1e-3)
    np.testing.assert_allclose(bias, 3.0, atol=1e-3)


def test_what_is_explained_is_what_the_fit_explains(
    numbers: tuple[np.ndarray, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For any number of first rows: the sum of squares less that of what is left over."""
    monkeypatch.setattr(fit_weights, "DAMPING", 1e-12)
    x, weight, y = numbers
    fit = normal_equations(_moments(x, y, centred=True), weight)
    order = np.random.default_rng(1).permutation(WIDTH)
    explained = fit.explained(order)
    whole = np.square(y - y.mean(axis=0)).sum()
    for count in (1, 30, fit_weights.BLOCK, WIDTH):
        found, bias = fit.solve(order[:count])
        left = np.square(y - x[:, order[:count]] @ found - bias).sum()
        assert explained[count - 1] == pytest.approx(whole - left, rel=1e-3)


def test_dead_units_do_no_harm() -> None:
    """Where nothing was ever read, the equations can be solved, and the weight stays."""
    moments = Moments(WIDTH, OUT, centred=True)
    moments.add(np.zeros((5, WIDTH), np.float32), np.zeros((5, OUT), np.float32))
    weight = np.ones((WIDTH, OUT), np.float32)
    found, bias = normal_equations(moments, weight).solve(np.arange(3))
    np.testing.assert_allclose(found, 1.0)
    np.testing.assert_allclose(bias, 0.0)

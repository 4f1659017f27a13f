"""What the second calibration pass counts of the tensors that Linears read."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.plan import Activation, Plan
from edgecompile.quantize.observe_hessians import observe_hessians
from edgecompile.quantize.observe_histograms import BINS, MOMENTUM, observe_histograms

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]

WEIGHT = np.random.default_rng(3).normal(size=(8, 4)).astype(np.float32)
FACTORS = np.arange(1, 9, dtype=np.float32)
TEXT = """(float[b,s,8] x, int64[b,s] attention_mask) => (float[b,s,4] y) { y = MatMul(x, w) }"""


@pytest.fixture
def model(graph: Parse) -> ir.Model:
    """Return x -> Linear, with an attention mask."""
    return graph(TEXT, w=WEIGHT)


def feeds(*lengths: int, padded: int = 2) -> list[dict[str, Array]]:
    """Return a sample a length, with padding after it that is far out of range."""
    found = []
    for number, length in enumerate(lengths):
        x = np.random.default_rng(number).normal(size=(1, length + padded, 8)).astype(np.float32)
        x[:, length:] = 1000
        mask = (np.arange(length + padded) < length).astype(np.int64)[None]
        found.append({"x": x, "attention_mask": mask})
    return found


def scaled(samples: list[dict[str, Array]]) -> list[Array]:
    """Return each sample's valid tokens over the factors."""
    return [f["x"][f["attention_mask"] == 1] / FACTORS for f in samples]


def activation(samples: list[dict[str, Array]]) -> Activation:
    """Return the activation with the bounds that the first pass would have found."""
    x = np.concatenate(scaled(samples))
    return Activation(float(x.min()), float(x.max()), FACTORS, np.zeros(8, np.float32), 0.5)


def test_counts_are_numpys(model: ir.Model) -> None:
    """Every valid value falls into its bin; padding into none."""
    samples = feeds(5, 30, 9)
    seen = observe_histograms(model, {"x": activation(samples)}, samples)["x"]
    x = np.concatenate(scaled(samples))
    wanted, _ = np.histogram(x, BINS, (x.min(), x.max()))
    assert seen.counts.sum() == x.size
    moved = np.abs(np.cumsum(seen.counts) - np.cumsum(wanted)).max()
    assert moved <= 2  # a value on the border of two bins may round to either


def test_the_moving_average_forgets_slowly(model: ir.Model) -> None:
    """Each sample's own range counts for a tenth (Jacob et al. 2018)."""
    samples = feeds(5, 30, 9)
    seen = observe_histograms(model, {"x": activation(samples)}, samples)["x"]
    first, *rest = [(float(x.min()), float(x.max())) for x in scaled(samples)]
    low, high = first
    for now in rest:
        low = MOMENTUM * low + (1 - MOMENTUM) * now[0]
        high = MOMENTUM * high + (1 - MOMENTUM) * now[1]
    assert seen.moving == pytest.approx((low, high))


def test_feeds_are_streamed(model: ir.Model) -> None:
    """A generator is enough: no sample is held until the next has come."""
    samples = feeds(4, 7)
    known = activation(samples)

    def stream() -> Iterator[dict[str, Array]]:
        yield from samples

    assert observe_histograms(model, {"x": known}, stream())["x"].counts.sum() == 11 * 8


def test_hessians_are_numpys(model: ir.Model) -> None:
    """E[x x^T] of the scaled, valid tokens."""
    samples = feeds(5, 30, 9)
    plan = observe_hessians(model, Plan({"x": activation(samples)}), samples)
    x = np.concatenate(scaled(samples)).astype(np.float64)
    found = plan.activations["x"].hessian
    assert found is not None
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, x.T @ x / len(x), rtol=1e-4, atol=1e-6)

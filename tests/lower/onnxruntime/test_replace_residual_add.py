"""Residual additions become Sums, so that onnxruntime does not fuse them badly."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Counts = Callable[[ir.Model], dict[str, int]]

RANDOM = np.random.default_rng(13)
NUMBERS: dict[str, Any] = {
    name: RANDOM.normal(size=8).astype(np.float32) for name in ("scale", "bias", "vector")
}
X = {"x": RANDOM.normal(size=(2, 5, 8)).astype(np.float32)}
NORM = "y = LayerNormalization<axis = -1>(r, scale, bias)"


@pytest.fixture(scope="session")
def replace(
    graph: Parse, rewrite: Rewrite, equal: Callable[..., None]
) -> Callable[[str], ir.Model]:
    """Return a function that runs the pass on a body: the outputs do not change."""

    def apply(body: str) -> ir.Model:
        model = graph(f"(float[b,s,8] x) => (float[b,s,8] y) {{ {body} }}", **NUMBERS)
        after = rewrite("lower/onnxruntime", model, "replace-residual-add")
        equal(model, after, X, atol=0)
        return after

    return apply


def test_a_sum_of_activations_before_a_norm_is_replaced(replace: Rewrite, counts: Counts) -> None:
    """The two operands are both computed, and a LayerNormalization reads the result."""
    after = replace(f"a = Neg(x) c = Exp(x) r = Add(a, c) {NORM}")
    assert counts(after) == {"Exp": 1, "LayerNormalization": 1, "Neg": 1, "Sum": 1}


def test_other_readers_do_not_matter(replace: Rewrite, counts: Counts) -> None:
    """The residual stream goes on beside the norm (pre-norm encoders)."""
    norm = "n = LayerNormalization<axis = -1>(r, scale, bias) y = Add(n, r)"
    after = replace(f"a = Neg(x) c = Exp(x) r = Add(a, c) {norm}")
    assert counts(after) == {"Add": 1, "Exp": 1, "LayerNormalization": 1, "Neg": 1, "Sum": 1}


@pytest.mark.parametrize(
    "body",
    [
        f"a = Neg(x) r = Add(a, vector) {NORM}",
        f"a = Neg(x) r = Add(vector, a) {NORM}",
        "a = Neg(x) c = Exp(x) y = Add(a, c)",
        "a = Neg(x) c = Exp(x) r = Add(a, c) y = Relu(r)",
    ],
    ids=["a bias", "a bias first", "the output", "before a Relu"],
)
def test_other_additions_stay(replace: Rewrite, counts: Counts, body: str) -> None:
    """A bias, and a sum that no norm reads, is not what onnxruntime would fuse."""
    assert counts(replace(body))["Add"] == 1


def test_onnxruntime_leaves_a_sum_alone(replace: Rewrite, graph: Parse, tmp_path: Any) -> None:
    """Its optimizer fuses Add and LayerNormalization, and does not fuse Sum."""
    body = f"a = Neg(x) c = Exp(x) r = Add(a, c) {NORM}"
    before = graph(f"(float[b,s,8] x) => (float[b,s,8] y) {{ {body} }}", **NUMBERS)
    assert "SkipLayerNormalization" in optimised(before, tmp_path / "before.onnx")
    assert "SkipLayerNormalization" not in optimised(replace(body), tmp_path / "after.onnx")


def optimised(model: ir.Model, path: Any) -> set[str]:
    """Return the operators of a graph as onnxruntime runs it."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.log_severity_level = 4
    ort.InferenceSession(ir.to_proto(model).SerializeToString(), options, ["CPUExecutionProvider"])
    return {node.op_type for node in ir.load(path).graph}

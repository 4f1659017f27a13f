"""The table of operators: the runtime's profiler, told by the source's layers."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx.parser
import pytest

from edgecompile.emit.onnxruntime import median_sum
from edgecompile.profile.measure_operators import Request, measure_operators
from edgecompile.profile.source_layers import Layer

LAYERS = {"dense": Layer("dense", "Linear")}


@pytest.fixture
def request_of(tmp_path: Path) -> Callable[..., Request]:
    """Return a factory of requests for a graph of two named nodes, on an engine."""
    proto = onnx.parser.parse_model(
        '<ir_version: 8, opset_import: ["": 18]> m (float[1, n] x) => (float[1, n] y)'
        "{ a = Exp(x)\n b = Tanh(a)\n y = Sin(b) }"
    )
    for node, name in zip(proto.graph.node, ("dense", "dense.after", "else"), strict=True):
        node.name = name
    onnx.save(proto, tmp_path / "model.onnx")
    np.savez(tmp_path / "feed.npz", x=np.zeros((1, 5000), np.float32))

    def make(engine: str) -> Request:
        models = {"artifact": str(tmp_path / "model.onnx")}
        return Request(models, {"artifact": engine}, str(tmp_path / "feed.npz"))

    return make


def test_nodes_are_told_by_layer(request_of: Callable[..., Request]) -> None:
    """What lowering appended to a layer is that layer's; what is of none has no layer."""
    found = measure_operators(request_of("onnxruntime"), LAYERS, 5000)
    rows = {row["operator"]: row for row in found["rows"]}
    assert [rows[name]["layer"] for name in ("Exp", "Tanh", "Sin")] == ["dense", "dense", ""]
    assert rows["Exp"]["does"] == "Linear"
    assert all(row["value"] >= 0 for row in found["rows"])
    assert found["missing"] == {}
    assert (found["kind"], found["unit"], found["sequence"]) == ("measured", "ms", 5000)


def test_openvino_has_a_profiler_of_its_own(request_of: Callable[..., Request]) -> None:
    """Its compiler makes one node of several: that has the name of one of them."""
    found = measure_operators(request_of("openvino"), LAYERS, 5000)
    assert sum(row["value"] for row in found["rows"]) > 0
    assert {row["layer"] for row in found["rows"]} <= {"dense", ""}


def test_an_engine_without_a_profiler_says_so(request_of: Callable[..., Request]) -> None:
    """LiteRT's Python package has none."""
    found = measure_operators(request_of("litert"), LAYERS, 5000)
    assert found["rows"] == []
    assert "has no profiler" in found["missing"]["artifact"]


def test_nodes_of_one_name_add_up() -> None:
    """An optimiser's nodes have no name: two of them, three runs, the first one a warm-up."""
    assert median_sum([9, 9, 1, 2, 1, 2], 3) == 3

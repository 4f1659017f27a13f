"""Opsets: which one a graph needs, and what happens when a target takes less."""

import onnx.parser
import onnx_ir as ir
import pytest

from edgecompile.errors import UnsupportedError
from edgecompile.opset import CANONICAL, declare_opset, first_opset, ir_version_of


def model(nodes: str, opset: int = CANONICAL) -> ir.Model:
    """Return a model of these nodes over x and z [b, s, 4]."""
    return ir.from_proto(
        onnx.parser.parse_model(
            f'<ir_version: 11, opset_import: ["": {opset}, "com.microsoft": 1]>'
            "m (float[b, s, 4] x, float[b, s, 4] z) => (float[b, s, 4] y)"
            "<float[4] c = {1, 2, 3, 4}, int64[1] axes = {-1}>"
            f"{{ {nodes} }}"
        )
    )


@pytest.mark.parametrize(
    ("node", "first"),
    [
        ("y = Relu(x)", 1),
        ("y = LayerNormalization(x, c, c)", 17),
        ("y = Gelu(x)", 20),
        ("y = Attention<q_num_heads=1, kv_num_heads=1>(x, z, z)", 23),
        ("y = ReduceMean<axes=[-1]>(x)", 1),
        ("y = ReduceMean(x, axes)", 18),
        ("y = Softmax<axis=-1>(x)", 1),
        ("y = Unsqueeze(x, axes)", 13),
        ("y = Unsqueeze<axes=[0]>(x)", 1),
        ("y = Shape<start=1>(x)", 15),
        ("y = Shape(x)", 1),
    ],
)
def test_first_opset_is_told_by_attributes_and_inputs(node: str, first: int) -> None:
    """The first opset is that whose operator takes the node as written, not that of its name."""
    assert first_opset(model(node).graph[0]) == first


def test_older_opset_is_declared_where_it_suffices() -> None:
    """The model is declared under the opset and its IR version; the one given stays as it was."""
    new = model("[norm] y = LayerNormalization(x, c, c)")
    old = declare_opset(new, 18, "target x")
    assert (old.graph.opset_imports[""], old.ir_version) == (18, ir_version_of(18))
    assert old.graph.opset_imports["com.microsoft"] == 1
    assert (new.graph.opset_imports[""], new.ir_version) == (CANONICAL, 11)
    assert [node.op_type for node in old.graph] == ["LayerNormalization"]


def test_node_that_needs_more_is_named() -> None:
    """A node that the opset lacks: who takes which opset, and which node needs which."""
    new = model("[plain] h = Relu(x) [act] y = Gelu(h)")
    with pytest.raises(UnsupportedError) as caught:
        declare_opset(new, 18, "target raspberry-pi-4")
    assert str(caught.value) == (
        "target raspberry-pi-4 takes opset 18, but node 'act' (Gelu) needs 20"
    )
    assert caught.value.exit_code == 1


def test_exactly_enough_is_enough() -> None:
    """A node whose operator appeared in the opset itself is taken."""
    assert declare_opset(model("y = Gelu(x)"), 20, "who").graph.opset_imports[""] == 20


def test_operators_of_other_domains_need_no_opset() -> None:
    """Operators of onnxruntime's own are counted by their own domain's version."""
    old = declare_opset(model("y = com.microsoft.Gelu(x)"), 11, "who")
    assert old.graph.opset_imports[""] == 11


@pytest.mark.parametrize(("opset", "version"), [(11, 6), (17, 8), (18, 8), (20, 9), (23, 11)])
def test_ir_version_is_that_of_the_release(opset: int, version: int) -> None:
    """The IR version is the one that onnx released with the opset."""
    assert ir_version_of(opset) == version

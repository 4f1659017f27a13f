"""Views of a graph: Linears, constants, names, and small edits."""

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest

from edgecompile import graph as g
from edgecompile.session import session

INITIALIZERS = {
    "up.weight": np.arange(12, dtype=np.float32).reshape(4, 3),
    "up.bias": np.array([1, 2, 3], np.float32),
    "other.bias": np.array([4, 5, 6], np.float32),
    "onnx::MatMul_7": np.ones((4, 3), np.float32),
    "cube": np.ones((2, 4, 4), np.float32),
    "row": np.ones((1, 3), np.float32),
    "number": np.array([2.5], np.float32),
}


def model(nodes: str, output: str = "y") -> ir.Model:
    """Return a model of these nodes over x [b, s, 4] and the initializers above."""
    proto = onnx.parser.parse_model(
        '<ir_version: 10, opset_import: ["": 20, "com.microsoft": 1]>'
        f"m (float[b, s, 4] x, float[3] v) => (float[b, s, c] {output}) {{ {nodes} }}"
    )
    names = {name.replace(".", "_").replace("::", "_"): name for name in INITIALIZERS}
    for node in proto.graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in INITIALIZERS.items()
    )
    return ir.from_proto(proto)


def outcome(model: ir.Model) -> list[np.ndarray]:
    """Return a model's answers for fixed inputs."""
    x = np.linspace(-1, 1, 24, dtype=np.float32).reshape(2, 3, 4)
    known = {"x": x, "v": np.array([1, 0, -1], np.float32)}
    feed = {str(v.name): known[str(v.name)] for v in model.graph.inputs}
    return list(session(model).run(None, feed))


# --- Linears -------------------------------------------------------------------------------------


@pytest.mark.parametrize("add", ["Add(h, up_bias)", "Add(up_bias, h)"])
def test_matmul_and_add_are_a_linear(add: str) -> None:
    """MatMul by [in, out] and Add of [out], on either side, are one Linear."""
    (linear,) = g.linears(model(f"[m] h = MatMul(x, up_weight) [a] y = {add}").graph)
    assert linear.name == "up"
    assert (linear.x.name, linear.y.name, linear.weight.name) == ("x", "y", "up.weight")
    assert linear.bias is not None
    assert linear.bias.name == "up.bias"
    assert [node.name for node in linear.nodes] == ["m", "a"]
    np.testing.assert_array_equal(g.weight_of(linear), INITIALIZERS["up.weight"])


@pytest.mark.parametrize(
    "nodes",
    [
        "[m] h = MatMul(x, up_weight) y = Relu(h)",
        "[m] h = MatMul(x, up_weight) y = Add(h, v)",
        "[m] h = MatMul(x, up_weight) y = Add(h, row)",
        "[m] h = MatMul(x, up_weight) t = Add(h, up_bias) y = Add(t, h)",
        "[m] h = MatMul(x, up_weight) y = Sub(h, up_bias)",
    ],
)
def test_linear_without_a_bias_of_its_own(nodes: str) -> None:
    """What is added counts as bias only if it is a [out] constant and all that reads the MatMul."""
    (linear,) = g.linears(model(nodes).graph)
    assert (linear.add, linear.bias) == (None, None)
    assert (linear.name, linear.y.name) == ("up", "h")
    assert [node.name for node in linear.nodes] == ["m"]


def test_matmul_that_makes_an_output_keeps_its_add_apart() -> None:
    """A MatMul whose own result is asked for cannot be merged with the Add behind it."""
    both = model("h = MatMul(x, up_weight) y = Add(h, up_bias)")
    both.graph.outputs.append(next(iter(both.graph)).outputs[0])
    (linear,) = g.linears(both.graph)
    assert linear.add is None


@pytest.mark.parametrize(
    "nodes",
    [
        "y = MatMul(x, x)",
        "y = MatMul(x, cube)",
        "y = MatMul(cube, up_weight)",
        "y = com.microsoft.MatMul(x, up_weight)",
        "y = Add(x, up_bias)",
    ],
)
def test_other_products_are_no_linear(nodes: str) -> None:
    """A Linear multiplies an activation by a two-dimensional constant, in the standard domain."""
    assert list(g.linears(model(nodes).graph)) == []


def test_linear_is_named_after_the_bias_where_the_weight_lost_its_name() -> None:
    """Exporters rename weights; the bias then still tells the layer."""
    named = model("h = MatMul(x, onnx_MatMul_7) y = Add(h, up_bias)")
    bare = model("y = MatMul(x, onnx_MatMul_7)")
    assert [linear.name for linear in g.linears(named.graph)] == ["up"]
    assert [linear.name for linear in g.linears(bare.graph)] == ["onnx::MatMul_7"]
    both = model("h = MatMul(x, up_weight) y = Add(h, other_bias)")
    assert [linear.name for linear in g.linears(both.graph)] == ["up"]


def test_linears_come_in_graph_order() -> None:
    """Linears are yielded as the graph runs."""
    two = model("h = MatMul(x, onnx_MatMul_7) k = MatMul(x, up_weight) y = Add(h, k)")
    assert [linear.name for linear in g.linears(two.graph)] == ["onnx::MatMul_7", "up"]


# --- constants -----------------------------------------------------------------------------------


def test_constant_is_the_array_of_an_initializer() -> None:
    """Initializers have an array; inputs, computed and missing values have none."""
    graph = model("y = Add(x, number)").graph
    assert g.constant(graph.initializers["number"]) == np.float32(2.5)
    assert [g.constant(v) for v in (graph.inputs[0], graph.outputs[0], None)] == [None] * 3


def test_scalar_is_a_one_element_initializer() -> None:
    """One element in any shape is a number; a vector, or what is computed, is not."""
    graph = model("y = Add(x, number)").graph
    assert g.scalar(graph.initializers["number"]) == 2.5
    assert [g.scalar(v) for v in (graph.initializers["up.bias"], graph.inputs[0], None)] == [
        None
    ] * 3


def test_unknown_dimension_is_named() -> None:
    """A dimension that must be a number and is not: which one, of what."""
    x = model("y = Relu(x)").graph.inputs[0]
    assert g.dim(x, 2) == 4
    with pytest.raises(TypeError, match=r"^dimension 1 of 'x' is s, not a number$"):
        g.dim(x, 1)


def test_missing_input_and_missing_array_are_errors() -> None:
    """What an operator's schema demands must be there, and an initializer must hold an array."""
    with pytest.raises(ValueError, match=r"^a required input is missing$"):
        g.present(None)
    with pytest.raises(ValueError, match=r"^initializer 'x' holds no array$"):
        g.weight_array(model("y = Relu(x)").graph.inputs[0])


def test_sole_consumer_reads_alone() -> None:
    """The sole consumer is the one reader of the wanted type; an output is read from outside."""
    graph = model("h = Relu(x) y = Add(h, up_bias)").graph
    h = next(iter(graph)).outputs[0]
    assert g.sole_consumer(h, "Add", "Mul") is h.consumers()[0]
    assert g.sole_consumer(h, "Mul") is None
    assert g.sole_consumer(graph.outputs[0], "Add") is None
    shared = model("h = Relu(x) t = Add(h, h) y = Add(t, h)").graph
    assert g.sole_consumer(next(iter(shared)).outputs[0], "Add") is None


# --- edits ---------------------------------------------------------------------------------------


def test_added_initializer_takes_a_free_name() -> None:
    """A name that is taken gets a number; the old initializer stays what it was."""
    graph = model("y = Relu(x)").graph
    names = [g.add_initializer(graph, "number", np.zeros((2, 3), np.int8)).name for _ in range(2)]
    assert names == ["number_1", "number_2"]
    added = graph.initializers["number_1"]
    assert (added.shape, added.dtype) == ((2, 3), ir.DataType.INT8)
    assert g.constant(graph.initializers["number"]) == np.float32(2.5)


def test_added_initializer_is_contiguous() -> None:
    """A view of a larger array is stored in row order."""
    view = np.arange(6, dtype=np.float32).reshape(2, 3).T
    added = g.add_initializer(model("y = Relu(x)").graph, "view", view)
    array = g.constant(added)
    assert array is not None
    assert array.flags.c_contiguous
    np.testing.assert_array_equal(array, view)


def test_equal_int64_vectors_are_shared() -> None:
    """The same numbers are stored once; other numbers, and signs, are told apart."""
    graph = model("y = Relu(x)").graph
    first, again, other = (
        g.add_int64(graph, 0, -1),
        g.add_int64(graph, 0, -1),
        g.add_int64(graph, 1),
    )
    assert first is again
    assert other is not first
    np.testing.assert_array_equal(first.const_value.numpy(), [0, -1])
    assert first.dtype == ir.DataType.INT64


def test_substitute_keeps_name_place_and_answers() -> None:
    """New nodes stand where the old ones stood, and their output is called as before."""
    old = model("h = MatMul(x, up_weight) t = Add(h, up_bias) y = Relu(t)")
    new = old.clone()
    (linear,) = g.linears(new.graph)
    tape = ir.tape.Tape()
    product = tape.op("MatMul", [linear.x, linear.weight])
    tape.op("Sum", [product, g.present(linear.bias)])
    g.substitute(new.graph, linear.nodes, tape.nodes)
    assert [node.op_type for node in new.graph] == ["MatMul", "Sum", "Relu"]
    assert [node.outputs[0].name for node in new.graph][1:] == ["t", "y"]
    np.testing.assert_array_equal(outcome(new), outcome(old))


def test_substitute_keeps_a_graph_output() -> None:
    """Where the last node made an output of the model, the new one makes it, typed as before."""
    new = model("h = Relu(x) y = Add(h, number)")
    before = (new.graph.outputs[0].shape, new.graph.outputs[0].type)
    last = list(new.graph)[-1]
    total = ir.node("Sum", list(last.inputs))
    g.substitute(new.graph, [last], [total])
    (output,) = new.graph.outputs
    assert output is total.outputs[0]
    assert (output.name, (output.shape, output.type)) == ("y", before)


def test_replaced_value_hands_its_name_to_the_new_output() -> None:
    """All readers read the new value; as a graph output it takes over the old one's name."""
    new = model("h = Relu(x) y = Identity(h)")
    relu, identity = new.graph
    g.replace_value(identity.outputs[0], relu.outputs[0])
    g.sweep(new)
    assert [node.op_type for node in new.graph] == ["Relu"]
    assert [value.name for value in new.graph.outputs] == ["y"]
    np.testing.assert_array_equal(outcome(new), outcome(model("y = Relu(x)")))


def test_replaced_value_inside_a_graph_keeps_both_names() -> None:
    """A value that is no output keeps its name, and so does what replaces it."""
    new = model("h = Relu(x) k = Identity(h) y = Sigmoid(k)")
    relu, identity, sigmoid = new.graph
    g.replace_value(identity.outputs[0], relu.outputs[0])
    assert sigmoid.inputs[0] is relu.outputs[0]
    assert relu.outputs[0].name == "h"


def test_sweep_removes_the_unread_sorts_and_renames() -> None:
    """After a sweep nothing unread is left, nodes stand in order, and names are unique."""
    new = model("h = Relu(x) y = Sigmoid(h) unread = MatMul(x, up_weight)")
    relu, sigmoid, _ = new.graph
    new.graph.remove(relu)
    new.graph.insert_after(sigmoid, relu)
    relu.name = sigmoid.name = "twin"
    assert g.sweep(new) is new
    assert [node.op_type for node in new.graph] == ["Relu", "Sigmoid"]
    assert len({node.name for node in new.graph}) == 2
    assert list(new.graph.initializers) == []


# --- counts --------------------------------------------------------------------------------------


def test_histogram_counts_by_operator_and_domain() -> None:
    """Operators are counted by name, those of other domains under theirs, sorted."""
    graph = model("a = Relu(x) b_ = Relu(a) c_ = com.microsoft.Gelu(b_) y = Add(c_, c_)").graph
    found = g.op_histogram(graph)
    assert found == {"Add": 1, "Relu": 2, "com.microsoft.Gelu": 1}
    assert list(found) == sorted(found)


def test_weight_bytes_sums_initializers() -> None:
    """Bytes are elements times their size; a value without an array counts nothing."""
    graph = model("y = Relu(x)").graph
    assert g.weight_bytes(graph.initializers.values()) == 4 * (12 + 3 + 3 + 12 + 32 + 3 + 1)
    g.add_initializer(graph, "small", np.zeros(5, np.int8))
    assert g.weight_bytes(graph.initializers.values()) == 4 * 66 + 5
    assert g.weight_bytes(graph.inputs) == 0

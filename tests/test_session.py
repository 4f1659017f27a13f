"""Sessions: a graph in memory becomes one that runs, its large weights beside it."""

import gc

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest

from edgecompile.graph import add_initializer
from edgecompile.session import SHARED_FROM_BYTES, session, session_options, split

WIDTH = 64


def model() -> ir.Model:
    """Return y = Relu(x @ large) + small, with 16 KB and 256 bytes of weights."""
    random = np.random.default_rng(0)
    x = ir.val("x", ir.DataType.FLOAT, ["batch", WIDTH])
    graph = ir.Graph([x], [], nodes=[], opset_imports={"": 20}, name="model")
    large = random.normal(size=(WIDTH, WIDTH)).astype(np.float32)
    small = random.normal(size=WIDTH).astype(np.float32)
    tape = ir.tape.Tape()
    product = tape.op("MatMul", [x, add_initializer(graph, "large", large)], name="product")
    kept = tape.op("Relu", [product], name="kept")
    y = tape.op("Add", [kept, add_initializer(graph, "small", small)], name="sum")
    for node, name in zip(tape.nodes, ("product", "kept", "y"), strict=True):
        node.outputs[0].name = name
    y.type = ir.TensorType(ir.DataType.FLOAT)
    graph.extend(tape.nodes)
    graph.outputs.append(y)
    return ir.Model(graph, ir_version=10)


def array(model: ir.Model, name: str) -> np.ndarray:
    """Return the array of an initializer."""
    tensor = model.graph.initializers[name].const_value
    assert tensor is not None
    return tensor.numpy()


X = np.linspace(-1, 1, 3 * WIDTH, dtype=np.float32).reshape(3, WIDTH)


@pytest.mark.parametrize("optimise", [True, False])
def test_session_computes_what_the_graph_says(optimise: bool) -> None:  # noqa: FBT001
    """With the weights beside the graph, the answers are those of the graph."""
    m = model()
    (y,) = session(m, optimise=optimise).run(None, {"x": X})
    expected = np.maximum(X @ array(m, "large"), 0) + array(m, "small")
    np.testing.assert_allclose(y, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("optimise", [True, False])
def test_further_outputs_are_returned(optimise: bool) -> None:  # noqa: FBT001
    """Tensors inside the graph are returned when they are asked for, after its own outputs."""
    m = model()
    run = session(m, outputs=["product", "kept"], optimise=optimise)
    assert [output.name for output in run.get_outputs()] == ["y", "product", "kept"]
    product, kept = run.run(["product", "kept"], {"x": X})
    np.testing.assert_allclose(product, X @ array(m, "large"), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(kept, np.maximum(product, 0))


def test_output_that_is_one_already_is_not_doubled() -> None:
    """Asking for an output of the graph changes nothing."""
    assert [o.name for o in session(model(), outputs=["y", "kept"]).get_outputs()] == ["y", "kept"]


def test_graph_is_left_as_it_was() -> None:
    """Opening a session changes neither the graph nor its weights."""
    m = model()
    before = ir.to_proto(m).SerializeToString(deterministic=True)
    session(m, outputs=["kept"]).run(None, {"x": X})
    assert ir.to_proto(m).SerializeToString(deterministic=True) == before


def test_large_weights_stay_out_of_the_graph() -> None:
    """Large weights are handed over as they lie in memory; small ones travel inside the graph."""
    m = model()
    proto, weights = split(m)
    assert list(weights) == ["large"]
    assert np.shares_memory(weights["large"], array(m, "large"))
    assert proto.ByteSize() < SHARED_FROM_BYTES
    (small,) = (t for t in proto.graph.initializer if t.name == "small")
    assert len(small.raw_data) == 4 * WIDTH


@pytest.mark.parametrize(("elements", "apart"), [(255, False), (256, True)])
def test_size_decides_what_stays_out(elements: int, apart: bool) -> None:  # noqa: FBT001
    """A tensor of 1024 bytes and more is large."""
    m = model()
    add_initializer(m.graph, "edge", np.zeros(elements, np.float32))
    assert ("edge" in split(m)[1]) == apart


def test_numbers_of_half_a_byte_travel_inside() -> None:
    """Large or not: onnxruntime takes none of them from numpy."""
    m = model()
    uint4 = ir.DataType.UINT4.numpy()
    value = add_initializer(m.graph, "nibbles", np.full((4096, 2), 7).astype(uint4))
    cast = ir.node("Cast", [value], {"to": ir.DataType.FLOAT})
    cast.outputs[0].name = "sevens"
    cast.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    m.graph.append(cast)
    m.graph.outputs.append(cast.outputs[0])
    assert "nibbles" not in split(m)[1]
    m.graph.opset_imports[""] = 21
    (sevens,) = session(m).run(["sevens"], {"x": X})
    np.testing.assert_array_equal(sevens, np.full((4096, 2), 7.0))


def test_weights_of_any_type_keep_their_place() -> None:
    """Several large weights of other types arrive whole: none takes another's bytes."""
    graph = ir.Graph([], [], nodes=[], opset_imports={"": 20}, name="model")
    index = ir.val("index", ir.DataType.INT64, [])
    graph.inputs.append(index)
    arrays = {
        f"table_{number}": (np.arange(2048) + number).astype(dtype).reshape(1024, 2)
        for number, dtype in enumerate((np.int8, np.int64, np.float32, np.int32))
    }
    for name, values in arrays.items():
        node = ir.node("Gather", [add_initializer(graph, name, values), index], {"axis": 0})
        node.outputs[0].name = f"{name}.row"
        node.outputs[0].type = ir.TensorType(ir.DataType(ir.tensor(values).dtype))
        graph.append(node)
        graph.outputs.append(node.outputs[0])
    m = ir.Model(graph, ir_version=10)
    assert list(split(m)[1]) == list(arrays)
    rows = session(m).run(None, {"index": np.array(1000)})
    for values, row in zip(arrays.values(), rows, strict=True):
        np.testing.assert_array_equal(row, values[1000])
        assert row.dtype == values.dtype


def test_session_outlives_its_graph() -> None:
    """A session still answers when the graph that it was opened on is gone."""
    m = model()
    run = session(m)
    (before,) = run.run(None, {"x": X})
    del m
    gc.collect()
    noise = [np.full((WIDTH, WIDTH), 7, np.float32) for _ in range(50)]
    (after,) = run.run(None, {"x": X})
    np.testing.assert_array_equal(before, after)
    del noise


@pytest.mark.parametrize("threads", [0, 1, 3])
def test_threads_are_those_asked_for(threads: int) -> None:
    """The number of threads reaches onnxruntime; 0 leaves it to onnxruntime."""
    assert session_options(threads=threads).intra_op_num_threads == threads
    options = session(model(), threads=threads).get_session_options()
    assert options.intra_op_num_threads == threads


def test_session_runs_on_the_cpu() -> None:
    """No other device is used, whatever onnxruntime was built with."""
    assert session(model()).get_providers() == ["CPUExecutionProvider"]


def test_optimisation_can_be_left_out() -> None:
    """With `optimise=False` the graph runs as written; else onnxruntime's default applies."""
    levels = ort.GraphOptimizationLevel
    assert session_options(threads=0).graph_optimization_level == levels.ORT_ENABLE_ALL
    plain = session_options(threads=0, optimise=False)
    assert plain.graph_optimization_level == levels.ORT_DISABLE_ALL

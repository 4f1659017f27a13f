"""Reading an .onnx file of any exporter: what is tidied, and the one line for what is refused."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.onnx_file import QUANTIZED, read
from edgecompile.opset import CANONICAL

Array = npt.NDArray[Any]
Counts = Callable[[ir.Model], dict[str, int]]
Run = Callable[..., list[Array]]
Save = Callable[..., Path]

WIDTH = 8
ONES = np.ones(WIDTH, np.float32)
X = np.arange(3 * WIDTH, dtype=np.float32).reshape(1, 3, WIDTH)
ADD = helper.make_node("Add", ["x", "w"], ["y"], name="add")
RELU = helper.make_node("Relu", ["x"], ["y"], name="relu")


@pytest.fixture
def save(tmp_path: Path) -> Save:
    """Return a function that writes nodes x [b, s, 8] -> y [b, s, 8] as model/model.onnx."""

    def write(
        *nodes: onnx.NodeProto,
        weights: Sequence[TensorProto] = (),
        opset: int = CANONICAL,
        functions: Sequence[onnx.FunctionProto] = (),
        inputs: Sequence[str] = ("x",),
    ) -> Path:
        x, y = (
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, shape) for n in names]
            for names, shape in ((inputs, ["b", "s", WIDTH]), (("y",), ["b", "s", WIDTH]))
        )
        graph = helper.make_graph(list(nodes), "g", x, y, list(weights))
        imports = [helper.make_opsetid("", opset), helper.make_opsetid("local", 1)]
        model = helper.make_model(graph, opset_imports=imports, ir_version=10)
        model.functions.extend(functions)
        path = tmp_path / "model" / "model.onnx"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(model.SerializeToString())
        return path

    return write


def external(location: str, **more: int) -> TensorProto:
    """Return the weight w [8] as a reference to a file."""
    tensor = TensorProto(
        name="w", data_type=TensorProto.FLOAT, dims=[WIDTH], data_location=TensorProto.EXTERNAL
    )
    for key, value in {"location": location, **more}.items():
        tensor.external_data.add(key=key, value=str(value))
    return tensor


def inside(array: Array, name: str = "w") -> TensorProto:
    """Return a weight that lies in the file."""
    return numpy_helper.from_array(array, name)


# ------------------------------------------------------------------ what comes in


def centred(save: Save, opset: int) -> Path:
    """Write x - mean(x); the axes of the mean moved from attribute to input in opset 18."""
    reduce: dict[str, Any] = {"keepdims": 1} | ({"axes": [-1]} if opset < 18 else {})
    return save(
        helper.make_node("ReduceMean", ["x", "axes"][: 1 + (opset >= 18)], ["mean"], **reduce),
        helper.make_node("Sub", ["x", "mean"], ["y"]),
        weights=[inside(np.array([-1]), "axes")],
        opset=opset,
    )


@pytest.mark.parametrize("opset", range(11, CANONICAL + 1))
def test_every_opset_from_11_arrives_as_the_canonical_one(save: Save, run: Run, opset: int) -> None:
    """Operators whose axes moved from attribute to input compute the same after conversion."""
    model = read(centred(save, opset))
    assert model.graph.opset_imports == {"": CANONICAL}
    assert [n.op_type for n in model.graph if n.op_type != "Constant"] == ["ReduceMean", "Sub"]
    expected = X - X.mean(axis=-1, keepdims=True)
    np.testing.assert_allclose(run(model, {"x": X})[0], expected, rtol=0, atol=1e-6)


def test_the_conversion_leaves_no_constant_nodes(save: Save, counts: Counts) -> None:
    """What the converter turned from attributes into Constant nodes are initializers too."""
    assert counts(read(centred(save, 13))) == {"ReduceMean": 1, "Sub": 1}


@pytest.mark.parametrize("size", [8, 4096])
def test_weights_survive_the_conversion(save: Save, size: int) -> None:
    """Small and large weights come out of an opset conversion bit for bit."""
    array = np.random.default_rng(0).normal(size=(WIDTH, size)).astype(np.float32)
    back = np.ones((size, WIDTH), np.float32)
    path = save(
        helper.make_node("MatMul", ["x", "w"], ["wide"]),
        helper.make_node("MatMul", ["wide", "back"], ["y"]),
        weights=[inside(array), inside(back, "back")],
        opset=14,
    )
    model = read(path)
    assert [value.name for value in model.graph.inputs] == ["x"]
    np.testing.assert_array_equal(model.graph.initializers["w"].const_value.numpy(), array)


def test_external_data_inside_the_folder_is_read(save: Save, run: Run) -> None:
    """Weights in a file beside the model, and in a folder below it, at an offset."""
    path = save(ADD, weights=[external("data/weights.bin", offset=16, length=32)])
    (path.parent / "data").mkdir()
    (path.parent / "data" / "weights.bin").write_bytes(b"\0" * 16 + ONES.tobytes())
    np.testing.assert_array_equal(run(read(path), {"x": X})[0], X + 1)


def test_constants_functions_and_declared_weights_are_tidied(
    save: Save, run: Run, counts: Counts
) -> None:
    """Constant nodes become initializers, functions are inlined, weights are no inputs."""
    twice = helper.make_function(
        "local", "Twice", ["a"], ["c"], [helper.make_node("Add", ["a", "a"], ["c"])],
        [helper.make_opsetid("", CANONICAL)],
    )  # fmt: skip
    path = save(
        helper.make_node("Constant", [], ["one"], value=inside(ONES)),
        helper.make_node("Twice", ["x"], ["double"], domain="local"),
        helper.make_node("Add", ["double", "one"], ["more"]),
        helper.make_node("Add", ["more", "w"], ["y"]),
        helper.make_node("Neg", ["x"], ["unused"]),
        weights=[inside(ONES)],
        functions=[twice],
        inputs=["x", "w"],
    )
    model = read(path)
    assert counts(model) == {"Add": 3}
    assert [value.name for value in model.graph.inputs] == ["x"]
    assert sorted(model.graph.initializers) == ["one", "w"]
    np.testing.assert_array_equal(run(model, {"x": X})[0], 2 * X + 2)


def test_nodes_get_unique_names_and_come_in_order(save: Save, run: Run) -> None:
    """Nodes without names get one, equal names are told apart, a later producer moves up."""
    path = save(
        helper.make_node("Neg", ["b"], ["y"], name="n"),
        helper.make_node("Abs", ["a"], ["b"], name="n"),
        helper.make_node("Neg", ["x"], ["a"]),
    )
    model = read(path)
    assert [node.op_type for node in model.graph] == ["Neg", "Abs", "Neg"]
    assert len({node.name for node in model.graph}) == 3
    assert all(node.name for node in model.graph)
    np.testing.assert_array_equal(run(model, {"x": X})[0], -np.abs(X))


def test_an_output_may_be_called_like_a_weight(save: Save, run: Run) -> None:
    """What torch's dynamo exporter does: the output keeps the name, the weight gets another."""
    path = save(helper.make_node("Add", ["x", "y"], ["y"]), weights=[inside(ONES, "y")])
    model = read(path)
    assert [value.name for value in model.graph.outputs] == ["y"]
    np.testing.assert_array_equal(run(model, {"x": X})[0], X + 1)


def test_a_tensor_may_be_defined_twice(save: Save, run: Run) -> None:
    """Each reader sees the definition that came last before it."""
    path = save(
        helper.make_node("Neg", ["x"], ["t"]),
        helper.make_node("Abs", ["t"], ["t"]),
        helper.make_node("Add", ["t", "x"], ["y"]),
    )
    np.testing.assert_array_equal(run(read(path), {"x": -X})[0], X - X)


# ------------------------------------------------------------------ what is no model


@pytest.mark.parametrize("content", [b"not a protobuf at all", b"\x80\x04\x95", b"PK\x03\x04"])
def test_a_file_of_another_kind_is_told(tmp_path: Path, content: bytes) -> None:
    """A file that only ends in .onnx is one line."""
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(ModelError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: not a readable ONNX file (")
    assert str(error.value).endswith("); export it again")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("part", [0.3, 0.6, 0.95])
def test_a_truncated_file_is_told(save: Save, part: float) -> None:
    """A download that broke off is one line that names the file."""
    path = save(ADD, weights=[inside(ONES)])
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    with pytest.raises(ModelError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("; export it again")
    assert "\n" not in str(error.value)


def test_an_empty_file_and_an_empty_graph_are_told(tmp_path: Path) -> None:
    """A file without content reads as a graph without nodes."""
    path = tmp_path / "model.onnx"
    empty = helper.make_model(helper.make_graph([], "g", [], []))
    for content in (b"", empty.SerializeToString()):
        path.write_bytes(content)
        with pytest.raises(ModelError) as error:
            read(path)
        assert str(error.value) == f"{path}: holds no graph with nodes and outputs; export it again"


def test_a_graph_without_outputs_is_told(tmp_path: Path) -> None:
    """Nodes whose result nobody asks for are no model."""
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [WIDTH])
    model = helper.make_model(helper.make_graph([RELU], "g", [x], []))
    path = tmp_path / "model.onnx"
    path.write_bytes(model.SerializeToString())
    with pytest.raises(ModelError, match="holds no graph with nodes and outputs"):
        read(path)


def test_a_cycle_is_told(save: Save) -> None:
    """A graph that feeds itself is one line, not a traceback."""
    path = save(helper.make_node("Add", ["x", "b"], ["y"]), helper.make_node("Relu", ["y"], ["b"]))
    with pytest.raises(ModelError, match=str(path)):
        read(path)


# ------------------------------------------------------------------ external data


@pytest.mark.parametrize(
    "location", ["../secret.bin", "a/../../secret.bin", "/{folder}/secret.bin"]
)
def test_external_data_outside_the_folder_is_refused(
    save: Save, tmp_path: Path, location: str
) -> None:
    """A model cannot make the compiler read a file elsewhere, by .. or by an absolute path."""
    location = location.replace("/{folder}", str(tmp_path))
    (tmp_path / "secret.bin").write_bytes(ONES.tobytes())
    path = save(ADD, weights=[external(location)])
    with pytest.raises(ModelError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: tensor 'w' lies in '{location}', outside the model's folder: refused;"
        " copy all its files into one folder"
    )


def test_a_link_out_of_the_folder_is_refused(save: Save, tmp_path: Path) -> None:
    """A link inside the folder that leads outside counts as outside."""
    (tmp_path / "secret.bin").write_bytes(ONES.tobytes())
    path = save(ADD, weights=[external("weights.bin")])
    (path.parent / "weights.bin").symlink_to(tmp_path / "secret.bin")
    with pytest.raises(ModelError, match=r"lies in 'weights\.bin', outside the model's folder"):
        read(path)


def test_missing_external_data_is_told(save: Save) -> None:
    """An .onnx file copied without its weights says which file to put beside it."""
    path = save(ADD, weights=[external("weights.bin")])
    with pytest.raises(ModelError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: tensor 'w' lies in 'weights.bin', which is missing; put it beside model.onnx"
    )


@pytest.mark.parametrize(("offset", "size", "needed"), [(0, 31, 32), (8, 32, 40)])
def test_truncated_external_data_is_told(save: Save, offset: int, size: int, needed: int) -> None:
    """A weights file that broke off is told with both sizes."""
    path = save(ADD, weights=[external("weights.bin", offset=offset)])
    (path.parent / "weights.bin").write_bytes(b"\0" * size)
    with pytest.raises(ModelError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: tensor 'w' lies in 'weights.bin', which is truncated: {size} bytes,"
        f" {needed} needed"
    )


def test_a_constant_outside_the_folder_is_refused(save: Save, tmp_path: Path) -> None:
    """External data of a Constant node is checked like that of an initializer."""
    (tmp_path / "secret.bin").write_bytes(ONES.tobytes())
    constant = helper.make_node("Constant", [], ["w"], value=external("../secret.bin"))
    with pytest.raises(
        ModelError, match="outside the model's folder: refused; copy all its files into one folder"
    ):
        read(save(constant, ADD))


def test_a_branch_is_checked_too(save: Save, tmp_path: Path) -> None:
    """External data inside a subgraph cannot lie outside the folder either."""
    (tmp_path / "secret.bin").write_bytes(ONES.tobytes())
    out = helper.make_tensor_value_info("u", TensorProto.FLOAT, [WIDTH])
    branch = helper.make_graph(
        [helper.make_node("Identity", ["w"], ["u"])], "branch", [], [out],
        [external("../secret.bin")],
    )  # fmt: skip
    chosen = helper.make_node("If", ["c"], ["v"], then_branch=branch, else_branch=branch)
    path = save(
        chosen,
        helper.make_node("Add", ["x", "v"], ["y"]),
        weights=[inside(np.array(0, bool), "c")],
    )
    with pytest.raises(
        ModelError, match="outside the model's folder: refused; copy all its files into one folder"
    ):
        read(path)


# ------------------------------------------------------------------ what it does not take


@pytest.mark.parametrize("opset", [1, 9, 10, 24, 25])
def test_other_opsets_are_refused(save: Save, opset: int) -> None:
    """Too old or too new an opset is told with those that are read."""
    path = save(RELU, opset=opset)
    with pytest.raises(UnsupportedError) as error:
        read(path)
    assert str(error.value) == f"{path}: opset {opset}; opsets 11 to 23 are read: export it again"


def test_an_operator_that_cannot_be_converted_is_told(save: Save) -> None:
    """What onnx's converter says is passed on in one line, with the next step."""
    path = save(helper.make_node("NoSuchOperator", ["x"], ["y"]), opset=13)
    with pytest.raises(UnsupportedError) as error:
        read(path)
    assert str(error.value).startswith(f"{path}: opset 13 cannot be converted to 23 (")
    assert str(error.value).endswith("); export it again with opset 17 or newer")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("op_type", sorted(QUANTIZED))
def test_a_quantized_model_is_refused(save: Save, op_type: str) -> None:
    """Any operator of a quantized graph, of either domain, is named: give the float model."""
    path = save(helper.make_node(op_type, ["x"], ["y"], name="first", domain="com.microsoft"))
    with pytest.raises(UnsupportedError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: node 'first' is a {op_type}: quantized already; give the float model"
    )


@pytest.mark.parametrize("content", [{}, {"raw_data": b"123"}])
def test_a_weight_whose_bytes_are_not_there_is_told(save: Save, content: dict[str, bytes]) -> None:
    """Protobuf gives zeros for what is missing: a model of zeros would be built."""
    hollow = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[WIDTH], **content)
    path = save(ADD, weights=[hollow])
    with pytest.raises(ModelError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: weight 'w' lacks bytes for its shape [8]; export it again"
    )


def test_a_node_that_reads_what_nothing_makes_is_told(save: Save) -> None:
    """The message names the node and the tensor."""
    path = save(ADD)
    with pytest.raises(ModelError) as error:
        read(path)
    assert str(error.value) == (
        f"{path}: node 'add' (Add) reads 'w', which nothing makes; export it again"
    )

"""A lowered graph, for one text length -> a graph of a TFLite file, and the signature to call it.

input_ids: [batch, sequence]   ->   input_ids: [1, 128]
"""

import numpy as np
import onnx
import onnx_ir as ir
from onnx.reference import ReferenceEvaluator

from edgecompile.errors import UnsupportedError
from edgecompile.graph import Array
from edgecompile.tflite.flatbuffer import File, Signature
from edgecompile.tflite.operators import writers
from edgecompile.tflite.subgraph import Shape, Subgraph, Tensor, unsupported

ONLY = "serving_default"
"""The key of a file's one signature, TFLite's custom."""
FOLDED_NUMBERS = 4096
"""Larger constants are cut and gathered when the model runs: each length would hold its own."""


def key_of(length: int) -> str:
    """Return the signature of a length; 0 stands for a model of fixed inputs."""
    return f"tokens_{length}" if length else ONLY


def open_axis(model: ir.Model) -> str | None:
    """Return the name of the one axis, besides the batch, that inputs leave open."""
    found: dict[str, str] = {}
    for value in model.graph.inputs:
        if value.shape is None:
            msg = f"input '{value.name}' has no shape: TFLite's are fixed; choose another engine"
            raise UnsupportedError(msg)
        for size in value.shape[1:]:
            if not isinstance(size, int):
                found.setdefault(str(size.value), str(value.name))
    if len(found) > 1:
        axes = ", ".join(f"'{axis}' of input '{name}'" for axis, name in found.items())
        msg = (
            f"TFLite's shapes are fixed, and only one axis besides the batch may be open, but there"
            f" are {axes}; choose another engine for this part"
        )
        raise UnsupportedError(msg)
    return next(iter(found), None)


def write_graph(file: File, model: ir.Model, length: int) -> None:
    """Write a lowered graph for a text length, batch 1, and its signature."""
    graph = Subgraph(file, key_of(length))
    for value in model.graph.inputs:
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        graph.output(value, _fixed(value, length, 1), dtype)
    known = writers()
    for node in model.graph:
        if not _fold(graph, node, model.opset_imports.get("", 0)):
            writer = known.get((node.domain, node.op_type))
            if writer is None:
                raise unsupported(node, "LiteRT has no such operator")
            writer(graph, node)
    inputs = {str(value.name): graph.of(value) for value in model.graph.inputs}
    outputs = {str(value.name): _as_named(graph, value) for value in model.graph.outputs}
    values = [*model.graph.inputs, *model.graph.outputs]
    shapes = {str(v.name): _fixed(v, -1, 1) for v in values if length and _is_open(v)}
    number = graph.close(inputs, outputs, shapes)
    places = (
        {name: graph.place(tensor) for name, tensor in end.items()} for end in (inputs, outputs)
    )
    file.add_signature(Signature(graph.name, number, *places))


def _fixed(value: ir.Value, length: int, batch: int) -> Shape:
    return tuple(
        size if isinstance(size, int) else batch if axis == 0 else length
        for axis, size in enumerate(value.shape or ())
    )


def _is_open(value: ir.Value) -> bool:
    return value.shape is not None and not all(isinstance(size, int) for size in value.shape[1:])


def _as_named(graph: Subgraph, value: ir.Value) -> Tensor:
    tensor = graph.of(value)
    if tensor.array is not None:
        msg = f"output '{value.name}' is a constant: the model has nothing to compute"
        raise UnsupportedError(msg)
    return tensor


def _fold(graph: Subgraph, node: ir.Node, opset: int) -> bool:
    """Compute a node whose inputs are small constants, or shapes; say whether that was so."""
    tensors = [None if value is None else graph.of(value) for value in node.inputs]
    if node.op_type == "Shape" and not node.domain and tensors[0] is not None:
        start, end = (node.attributes.get(key) for key in ("start", "end"))
        sizes = tensors[0].shape[
            slice(start.as_int() if start else None, end.as_int() if end else None)
        ]
        graph.known[node.outputs[0]] = graph.constant(node.outputs[0].name or "", np.array(sizes))
        return True
    arrays = {}
    for value, tensor in zip(node.inputs, tensors, strict=True):
        if value is None or tensor is None:
            continue
        if tensor.array is None or tensor.array.size > FOLDED_NUMBERS:
            return False
        arrays[str(value.name)] = tensor.array
    if node.domain or node.op_type == "DequantizeLinear":
        return False
    answers = _compute(node, arrays, opset)
    for value, array in zip(node.outputs, answers, strict=True):
        graph.known[value] = graph.constant(str(value.name), array)
    return True


def _compute(node: ir.Node, arrays: dict[str, Array], opset: int) -> list[Array]:
    wide = {n: a.astype(np.int64) if a.dtype == np.int32 else a for n, a in arrays.items()}
    inputs = [
        onnx.helper.make_tensor_value_info(
            name, onnx.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in wide.items()
    ]
    outputs = [onnx.helper.make_empty_tensor_value_info(str(v.name)) for v in node.outputs]
    graph = onnx.helper.make_graph([ir.to_proto(node)], "constants", inputs, outputs)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    return [np.asarray(array) for array in ReferenceEvaluator(model).run(None, wide)]

"""A lowered graph, for one text length -> a graph of a TFLite file, and the signature to call it.

input_ids: [batch, sequence]                ->   input_ids: [1, 128]
past_key_values.0.key: [batch, 4, past, 16]  ->   past_key_values.0.key: [1, 4, 512, 16]
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
PAST, MASK = "past_key_values", "attention_mask"
"""How inputs that hold a cache begin, [1, heads, places, size]; and what masks it."""
HELP = {
    "Attention": "lower/litert's expand-attention takes it with q_num_heads and scale stated",
    "BatchNormalization": "lower/litert's expand-operators takes it with constant statistics",
    "Erf": "canonicalise's fuse-gelu takes it in x * (1 + erf(x / sqrt(2))) / 2",
    "If": "export the model without branches, for one task",
    "InstanceNormalization": "lower/litert's expand-operators takes it with constant factors",
    "LayerNormalization": "lower/litert's expand-operators takes it over the last axis",
    "Loop": "export the model without loops: its step, with a cache",
    "NonZero": "its shape depends on numbers: export the model with fixed shapes",
    "Scan": "export the model without loops: its step, with a cache",
}
"""What could help with an operator that is left: a pass and what it takes, or another export."""
FOLDED_NUMBERS = 4096
"""Larger constants are cut and gathered when the model runs: each length would hold its own."""


@dataclass(frozen=True, slots=True)
class Sizes:
    """What a graph's open axes are fixed to, by name, the batch to 1; and its signature's key."""

    axes: Mapping[str, int]
    key: str

    def of(self, value: ir.Value) -> Shape:
        """Return a value's shape."""
        return tuple(
            size if isinstance(size, int) else 1 if axis == 0 else self.axes[str(size.value)]
            for axis, size in enumerate(value.shape or ())
        )


def sizes_of(model: ir.Model, lengths: Sequence[int]) -> list[Sizes]:
    """Return the sizes of each graph that is written for a model.

    A model of fixed inputs gets one, one that reads tokens one for each length, and a decoder with
    a cache those and one for a single token; its cache is as long as the longest.
    """
    found = _open_axes(model)
    if not found:
        return [Sizes({}, ONLY)]
    cached = [axis for axis, name in found.items() if name.startswith(PAST)]
    masks = [axis for axis, name in found.items() if cached and name == MASK]
    single = [axis for axis in found if axis not in (*cached, *masks)]
    if len(single) != 1 or len(cached) > 1:
        axes = ", ".join(f"'{axis}' of input '{name}'" for axis, name in found.items())
        msg = (
            "TFLite's shapes are fixed, and only one axis besides the batch may be open, with a"
            f" cache one more, but there are {axes}; choose another engine for this part"
        )
        raise UnsupportedError(msg)
    (tokens,) = single
    if not lengths:
        msg = f"axis '{tokens}' is open: TFLite's shapes are fixed; say [shapes] buckets = [128]"
        raise UnsupportedError(msg)
    if not cached:
        return [Sizes({tokens: n}, f"tokens_{n}") for n in sorted(lengths)]
    places = dict.fromkeys(cached, max(lengths))
    return [
        Sizes(
            {tokens: n, **places, **dict.fromkeys(masks, max(lengths) + n)},
            "decode" if n == 1 else f"prefill_{n}",
        )
        for n in sorted({1, *lengths})
    ]


def _open_axes(model: ir.Model) -> dict[str, str]:
    """Return the names of the axes, besides the batch, that inputs leave open: by whom first.

    A mask comes last: where it is as long as the tokens, its axis is theirs.
    """
    found: dict[str, str] = {}
    for value in sorted(model.graph.inputs, key=lambda value: value.name == MASK):
        if value.shape is None:
            msg = f"input '{value.name}' has no shape: TFLite's are fixed; choose another engine"
            raise UnsupportedError(msg)
        for size in value.shape[1:]:
            if not isinstance(size, int):
                found.setdefault(str(size.value), str(value.name))
    return found


def write_graph(file: File, model: ir.Model, sizes: Sizes) -> None:
    """Write a lowered graph of some sizes, batch 1, and its signature."""
    graph = Subgraph(file, sizes.key)
    for value in model.graph.inputs:
        dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
        graph.output(value, sizes.of(value), dtype)
    known = writers()
    for node in model.graph:
        if not _fold(graph, node, model.opset_imports.get("", 0)):
            writer = known.get((node.domain, node.op_type))
            if writer is None:
                raise unsupported(node, f"LiteRT has no such operator{_hint(node)}")
            writer(graph, node)
    inputs = {str(value.name): graph.of(value) for value in model.graph.inputs}
    outputs = {str(value.name): _as_named(graph, value) for value in model.graph.outputs}
    values = [*model.graph.inputs, *model.graph.outputs]
    shapes = {str(v.name): _open_shape(v) for v in values if sizes.axes and _is_open(v)}
    number = graph.close(inputs, outputs, shapes)
    places = (
        {name: graph.place(tensor) for name, tensor in end.items()} for end in (inputs, outputs)
    )
    file.add_signature(Signature(graph.name, number, *places))


def _open_shape(value: ir.Value) -> Shape:
    """Return a shape in which -1 stands for an open axis, as the schema's shape_signature does."""
    return tuple(
        size if isinstance(size, int) else 1 if axis == 0 else -1
        for axis, size in enumerate(value.shape or ())
    )


def _hint(node: ir.Node) -> str:
    """Return what would have written an operator otherwise, and why it may not have."""
    why = HELP.get(node.op_type, "")
    return f"; {why}" if why else ""


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

"""A node of a lowered graph -> the TFLite operator that computes it (Conv: between two others).

A writer works out its outputs' shapes. Versions are the oldest that have the kernel: a runtime
refuses newer ones than it knows.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.graph import LITERT, MICROSOFT, RSQRT, Array
from edgecompile.tflite.flatbuffer import Rounding, schema
from edgecompile.tflite.subgraph import Shape, Subgraph, Tensor, unsupported

Writer = Callable[[Subgraph, ir.Node], None]

ALONE = {
    "Abs": ("ABS", ""), "Cos": ("COS", ""), "Exp": ("EXP", ""), "Floor": ("FLOOR", ""),
    "Log": ("LOG", ""), "Neg": ("NEG", ""), "Not": ("LOGICAL_NOT", ""), "Relu": ("RELU", ""),
    "Sigmoid": ("LOGISTIC", ""), "Sin": ("SIN", ""), "Sqrt": ("SQRT", ""), "Tanh": ("TANH", ""),
}  # fmt: skip
"""Operators on each number by itself, and the table of their options."""
PAIRED = {
    "Add": ("ADD", "AddOptions"), "Sub": ("SUB", "SubOptions"), "Mul": ("MUL", "MulOptions"),
    "Div": ("DIV", "DivOptions"), "Max": ("MAXIMUM", "MaximumMinimumOptions"),
    "Min": ("MINIMUM", "MaximumMinimumOptions"), "Equal": ("EQUAL", "EqualOptions"),
    "Less": ("LESS", "LessOptions"), "LessOrEqual": ("LESS_EQUAL", "LessEqualOptions"),
    "Greater": ("GREATER", "GreaterOptions"), "And": ("LOGICAL_AND", "LogicalAndOptions"),
    "GreaterOrEqual": ("GREATER_EQUAL", "GreaterEqualOptions"),
    "Or": ("LOGICAL_OR", "LogicalOrOptions"),
}  # fmt: skip
"""Operators on two tensors that broadcast."""
TRUTHS = frozenset({"Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or"})
"""Those that answer yes or no."""
REDUCTIONS = {"ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX"}
RESHAPES = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity"})
BOOL, FLOAT = np.dtype(np.bool_), np.dtype(np.float32)


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """Return an attribute's value, or what it is by default."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def numbers(graph: Subgraph, node: ir.Node, index: int) -> list[int] | None:
    """Return an input that must be a constant list of whole numbers; None where it is left out."""
    if index >= len(node.inputs) or node.inputs[index] is None:
        return None
    array = graph.of(node.inputs[index]).array
    if array is None:
        raise unsupported(node, f"LiteRT wants its input {index} constant")
    return [int(n) for n in array.reshape(-1)]


def vector(graph: Subgraph, node: ir.Node, name: str, values: Sequence[int]) -> Tensor:
    """Return a constant int32 vector."""
    return graph.constant(f"{node.name}.{name}", np.array(values, np.int32))


def alone(graph: Subgraph, node: ir.Node) -> None:
    """Write y = op(x)."""
    x, (builtin, options) = graph.of(node.inputs[0]), ALONE[node.op_type]
    graph.write(builtin, [x], [graph.output(node.outputs[0], x.shape, x.dtype)], options)


def paired(graph: Subgraph, node: ir.Node) -> None:
    """Write y = op(a, b)."""
    if len(node.inputs) != 2:
        raise unsupported(node, f"LiteRT's takes two inputs, not {len(node.inputs)}")
    a, b = (graph.of(value) for value in node.inputs)
    builtin, options = PAIRED[node.op_type]
    dtype = BOOL if node.op_type in TRUTHS else a.dtype
    shape = np.broadcast_shapes(a.shape, b.shape)
    graph.write(builtin, [a, b], [graph.output(node.outputs[0], shape, dtype)], options)


def power(graph: Subgraph, node: ir.Node) -> None:
    """Write y = x ** n; n = -1/2 is RSQRT."""
    x, n = (graph.of(value) for value in node.inputs)
    y = graph.output(node.outputs[0], np.broadcast_shapes(x.shape, n.shape), x.dtype)
    if n.array is not None and n.array.size == 1 and n.array.reshape(-1)[0] == RSQRT:
        graph.write("RSQRT", [x], [y])
    else:
        graph.write("POW", [x, n], [y], "PowOptions")


def reduction(graph: Subgraph, node: ir.Node) -> None:
    """Write y = op(x) over axes."""
    x, rank = graph.of(node.inputs[0]), len(graph.of(node.inputs[0]).shape)
    found = numbers(graph, node, 1) or attribute(node, "axes", list(range(rank)))
    axes, keep = sorted(axis % rank for axis in found), bool(attribute(node, "keepdims", 1))
    kept = [1 if axis in axes else size for axis, size in enumerate(x.shape)]
    shape = kept if keep else [size for axis, size in enumerate(x.shape) if axis not in axes]
    y = graph.output(node.outputs[0], shape, x.dtype)
    inputs = [x, vector(graph, node, "axes", axes)]
    graph.write(REDUCTIONS[node.op_type], inputs, [y], "ReducerOptions", keepDims=keep)


def reshape(graph: Subgraph, node: ir.Node) -> None:
    """Write x in another shape."""
    x = graph.of(node.inputs[0])
    shape = _reshaped(graph, node, x.shape)
    y = graph.output(node.outputs[0], shape, x.dtype)
    inputs = [x, vector(graph, node, "shape", shape)]
    graph.write("RESHAPE", inputs, [y], "ReshapeOptions", newShape=list(shape))


def _reshaped(graph: Subgraph, node: ir.Node, old: Shape) -> Shape:
    wanted = numbers(graph, node, 1)
    if node.op_type == "Identity":
        return old
    if node.op_type == "Flatten":
        axis = attribute(node, "axis", 1)
        return (int(np.prod(old[:axis])), int(np.prod(old[axis:])))
    if node.op_type == "Squeeze":
        gone = [n for n, d in enumerate(old) if d == 1] if wanted is None else wanted
        return tuple(d for n, d in enumerate(old) if n not in {axis % len(old) for axis in gone})
    if node.op_type == "Unsqueeze":
        return tuple(np.expand_dims(np.empty(old, np.bool_), tuple(wanted or [])).shape)
    sizes = [old[n] if size == 0 else size for n, size in enumerate(wanted or [])]
    rest = int(np.prod([size for size in sizes if size != -1]))
    return tuple(int(np.prod(old)) // rest if size == -1 else size for size in sizes)


def transpose(graph: Subgraph, node: ir.Node) -> None:
    """Write x with its axes in another order."""
    x = graph.of(node.inputs[0])
    perm = attribute(node, "perm", list(reversed(range(len(x.shape)))))
    y = graph.output(node.outputs[0], [x.shape[axis] for axis in perm], x.dtype, x.rounding)
    graph.write("TRANSPOSE", [x, vector(graph, node, "perm", perm)], [y], "TransposeOptions")


def product(graph: Subgraph, node: ir.Node) -> None:
    """Write y = a @ b of float tensors, or a @ b^T."""
    a, b = (graph.of(value) for value in node.inputs)
    transposed = bool(attribute(node, "transB", 0))
    if attribute(node, "alpha", 1.0) != 1 or attribute(node, "transA", 0):
        raise unsupported(node, "LiteRT's has no factor and no transposed left side")
    if min(len(a.shape), len(b.shape)) < 2:
        raise unsupported(node, "LiteRT multiplies no vector")
    shape = (*np.broadcast_shapes(a.shape[:-2], b.shape[:-2]), a.shape[-2])
    y = graph.output(node.outputs[0], (*shape, b.shape[-2 if transposed else -1]), a.dtype)
    graph.write("BATCH_MATMUL", [a, b], [y], "BatchMatMulOptions", adjX=False, adjY=transposed)


def softmax(graph: Subgraph, node: ir.Node) -> None:
    """Write Softmax over the last axis."""
    x = graph.of(node.inputs[0])
    if attribute(node, "axis", -1) not in (-1, len(x.shape) - 1):
        raise unsupported(node, "LiteRT's goes over the last axis alone")
    y = graph.output(node.outputs[0], x.shape, x.dtype)
    graph.write("SOFTMAX", [x], [y], "SoftmaxOptions", beta=1.0)


def gelu(graph: Subgraph, node: ir.Node) -> None:
    """Write Gelu by erf or tanh."""
    x = graph.of(node.inputs[0])
    y = graph.output(node.outputs[0], x.shape, x.dtype)
    tanh = attribute(node, "approximate", "none") == "tanh"
    graph.write("GELU", [x], [y], "GeluOptions", approximate=tanh)


def cast(graph: Subgraph, node: ir.Node) -> None:
    """Write the same numbers in another type."""
    x, code = graph.of(node.inputs[0]), attribute(node, "to", 1)
    dtype = ir.DataType(code).numpy()
    y = graph.output(node.outputs[0], x.shape, dtype)
    graph.write("CAST", [x], [y], "CastOptions", **_cast_types(graph, x, y))


def _cast_types(graph: Subgraph, x: Tensor, y: Tensor) -> dict[str, int]:
    tables = graph.table.tensors
    types = [tables[graph.place(tensor)].type for tensor in (x, y)]
    return dict(zip(("inDataType", "outDataType"), types, strict=True))


def gather(graph: Subgraph, node: ir.Node) -> None:
    """Write rows of a table, or slices along an axis; int8 rows since version 2."""
    x, ids = (graph.of(value) for value in node.inputs)
    axis = attribute(node, "axis", 0) % len(x.shape)
    shape = (*x.shape[:axis], *ids.shape, *x.shape[axis + 1 :])
    y = graph.output(node.outputs[0], shape, x.dtype)
    version = 2 if x.dtype == np.int8 else 1
    graph.write("GATHER", [x, ids], [y], "GatherOptions", version, axis=axis)


def cut(graph: Subgraph, node: ir.Node) -> None:
    """Write a part of x, without steps."""
    x = graph.of(node.inputs[0])
    starts, ends, axes, steps = (numbers(graph, node, index) for index in range(1, 5))
    if starts is None or ends is None or any(step != 1 for step in steps or []):
        raise unsupported(node, "only parts without steps are written")
    begin, size = [0] * len(x.shape), list(x.shape)
    for start, end, axis in zip(starts, ends, axes or range(len(starts)), strict=True):
        first, last, _ = slice(start, end).indices(x.shape[axis])
        begin[axis], size[axis] = first, max(last - first, 0)
    y = graph.output(node.outputs[0], size, x.dtype)
    inputs = [x, vector(graph, node, "begin", begin), vector(graph, node, "size", size)]
    graph.write("SLICE", inputs, [y], "SliceOptions", 2 if x.dtype == np.int8 else 1)


def join(graph: Subgraph, node: ir.Node) -> None:
    """Write tensors one after the other."""
    parts = [graph.of(value) for value in node.inputs]
    axis = attribute(node, "axis", 0) % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    y = graph.output(node.outputs[0], shape, parts[0].dtype)
    graph.write("CONCATENATION", parts, [y], "ConcatenationOptions", axis=axis)


def split(graph: Subgraph, node: ir.Node) -> None:
    """Write equal parts along an axis."""
    x, sizes = graph.of(node.inputs[0]), numbers(graph, node, 1)
    axis, count = attribute(node, "axis", 0) % len(x.shape), len(node.outputs)
    if x.shape[axis] % count or len(set(sizes or [0])) > 1:
        raise unsupported(node, "only equal parts are written")
    shape = list(x.shape)
    shape[axis] //= count
    outputs = [graph.output(value, shape, x.dtype) for value in node.outputs]
    place = graph.constant(f"{node.name}.axis", np.array(axis, np.int32))
    graph.write("SPLIT", [place, x], outputs, "SplitOptions", numSplits=count)


def running_sum(graph: Subgraph, node: ir.Node) -> None:
    """Write the sum of all numbers so far along an axis."""
    x, axis = graph.of(node.inputs[0]), numbers(graph, node, 1)
    y = graph.output(node.outputs[0], x.shape, x.dtype)
    place = graph.constant(f"{node.name}.axis", np.array((axis or [0])[0], np.int32))
    values = {key: bool(attribute(node, key, 0)) for key in ("exclusive", "reverse")}
    graph.write("CUMSUM", [x, place], [y], "CumsumOptions", **values)


def choose(graph: Subgraph, node: ir.Node) -> None:
    """Write a where a condition holds, b elsewhere."""
    inputs = [graph.of(value) for value in node.inputs]
    shape = np.broadcast_shapes(*(tensor.shape for tensor in inputs))
    y = graph.output(node.outputs[0], shape, inputs[1].dtype)
    graph.write("SELECT_V2", inputs, [y], "SelectV2Options")


def expand(graph: Subgraph, node: ir.Node) -> None:
    """Write x, repeated to a shape."""
    x = graph.of(node.inputs[0])
    shape = np.broadcast_shapes(x.shape, tuple(numbers(graph, node, 1) or ()))
    y = graph.output(node.outputs[0], shape, x.dtype)
    graph.write("BROADCAST_TO", [x, vector(graph, node, "shape", shape)], [y], version=2)


def convolution(graph: Subgraph, node: ir.Node) -> None:
    """Write the convolution that cuts an image into patches: channels go last, and back."""
    x, w = graph.of(node.inputs[0]), graph.of(node.inputs[1])
    plain = [attribute(node, "group", 1), *attribute(node, "dilations", [1])]
    padded = any(attribute(node, "pads", [0])) or attribute(node, "auto_pad", "NOTSET") != "NOTSET"
    if w.array is None or len(x.shape) != 4 or set(plain) != {1} or padded:
        what = "only constant 2-D ones without padding, groups and dilation are written"
        raise unsupported(node, what)
    high, wide = attribute(node, "strides", [1, 1])
    sizes = [
        (size - kernel) // stride + 1
        for size, kernel, stride in zip(x.shape[2:], w.shape[2:], (high, wide), strict=True)
    ]
    last, shape = [0, 2, 3, 1], (x.shape[0], *sizes, w.shape[0])
    image = graph.computed(f"{node.name}.image", [x.shape[axis] for axis in last], x.dtype)
    graph.write("TRANSPOSE", [x, vector(graph, node, "last", last)], [image], "TransposeOptions")
    kernel = graph.constant(w.name, np.ascontiguousarray(w.array.transpose(last)))
    bias = graph.of(node.inputs[2]) if len(node.inputs) > 2 and node.inputs[2] else None
    if bias is None:
        bias = graph.constant(f"{node.name}.bias", np.zeros(w.shape[0], np.float32))
    patches = graph.computed(f"{node.name}.patches", shape, x.dtype)
    steps = {"strideH": high, "strideW": wide, "dilationHFactor": 1, "dilationWFactor": 1}
    steps |= {"padding": schema().Padding.VALID}
    graph.write("CONV_2D", [image, kernel, bias], [patches], "Conv2DOptions", **steps)
    first = [0, 3, 1, 2]
    y = graph.output(node.outputs[0], [shape[axis] for axis in first], x.dtype)
    graph.write(
        "TRANSPOSE", [patches, vector(graph, node, "first", first)], [y], "TransposeOptions"
    )


def quantize(graph: Subgraph, node: ir.Node) -> None:
    """Write float -> int8."""
    x = graph.of(node.inputs[0])
    rounding = _rounding(graph, node.inputs[1], node.inputs[2])
    y = graph.output(node.outputs[0], x.shape, np.dtype(np.int8), rounding)
    graph.write("QUANTIZE", [x], [y], "QuantizeOptions")


def dequantize(graph: Subgraph, node: ir.Node) -> None:
    """Write int8 -> float."""
    x = graph.of(node.inputs[0])
    y = graph.output(node.outputs[0], x.shape, FLOAT)
    graph.write("DEQUANTIZE", [x], [y], "DequantizeOptions", 2)


def fully_connected(graph: Subgraph, node: ir.Node) -> None:
    """Write y = x @ W^T + b: int8 by channel since version 5, of float x since 7."""
    operands = [*node.inputs, *[None] * (9 - len(node.inputs))]  # the last may be left out
    x, w, static = graph.of(operands[0]), graph.of(operands[3]), operands[7] is not None
    bias = None if operands[6] is None else graph.of(operands[6])
    version, rounding = 1, None
    dtype: np.dtype[Any] = FLOAT
    if operands[4] is not None:
        scale = _array(graph, operands[4])
        w = graph.constant(w.name, _held(w), graph.file.rounding(scale))
        version = 7
    if static and bias is not None:
        version, dtype = 5, np.dtype(np.int8)
        steps = scale * _array(graph, operands[1]).reshape(1)
        bias = graph.constant(bias.name, _held(bias), graph.file.rounding(steps))
        rounding = _rounding(graph, operands[7], operands[8])
    y = graph.output(node.outputs[0], (*x.shape[:-1], w.shape[0]), dtype, rounding)
    values = {"keepNumDims": True}
    graph.write("FULLY_CONNECTED", [x, w, bias], [y], "FullyConnectedOptions", version, **values)


def _rounding(graph: Subgraph, scale: ir.Value | None, zero: ir.Value | None) -> Rounding:
    return graph.file.rounding(_array(graph, scale), int(_array(graph, zero)))


def _array(graph: Subgraph, value: ir.Value | None) -> Array:
    return _held(graph.of(value))


def _held(tensor: Tensor) -> Array:
    if tensor.array is None:
        msg = f"'{tensor.name}' is no constant"
        raise ValueError(msg)
    return tensor.array


WRITERS: dict[tuple[str, str], Writer] = {
    **{("", name): alone for name in ALONE},
    **{("", name): paired for name in PAIRED},
    **{("", name): reduction for name in REDUCTIONS},
    **{("", name): reshape for name in RESHAPES},
    ("", "Cast"): cast,
    ("", "Concat"): join,
    ("", "Conv"): convolution,
    ("", "CumSum"): running_sum,
    ("", "DequantizeLinear"): dequantize,
    ("", "Expand"): expand,
    ("", "Gather"): gather,
    ("", "Gelu"): gelu,
    ("", "MatMul"): product,
    ("", "Pow"): power,
    ("", "QuantizeLinear"): quantize,
    ("", "Slice"): cut,
    ("", "Softmax"): softmax,
    ("", "Split"): split,
    ("", "Transpose"): transpose,
    ("", "Where"): choose,
    (LITERT, "FullyConnected"): fully_connected,
    (MICROSOFT, "FusedMatMul"): product,
}
"""By the node's domain and operator."""

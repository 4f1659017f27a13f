"""Operators that move numbers and compute none."""

import numpy as np
import onnx_ir as ir

from edgecompile.tflite.operators.read_node import Writers, attribute, numbers, vector
from edgecompile.tflite.subgraph import Shape, Subgraph, unsupported

RESHAPES = frozenset({"Reshape", "Unsqueeze", "Squeeze", "Flatten", "Identity"})


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


def gather(graph: Subgraph, node: ir.Node) -> None:
    """Write rows of a table, or slices along an axis; int8 rows since version 2."""
    x, ids = (graph.of(value) for value in node.inputs)
    axis = attribute(node, "axis", 0) % len(x.shape)
    shape = (*x.shape[:axis], *ids.shape, *x.shape[axis + 1 :])
    y = graph.output(node.outputs[0], shape, x.dtype)
    version = 2 if x.dtype == np.int8 else 1
    graph.write("GATHER", [x, ids], [y], "GatherOptions", version, axis=axis)


def cut(graph: Subgraph, node: ir.Node) -> None:
    """Write a part of x: SLICE without steps, STRIDED_SLICE with some."""
    x = graph.of(node.inputs[0])
    starts, ends, axes, steps = (numbers(graph, node, index) for index in range(1, 5))
    steps = steps or [1] * len(starts or [])
    if starts is None or ends is None or min(steps) < 1:
        raise unsupported(node, "only parts in their order are written")
    rank = len(x.shape)
    ranges = [slice(0, size, 1) for size in x.shape]
    for start, end, axis, by in zip(starts, ends, axes or range(rank), steps, strict=False):
        ranges[axis] = slice(*slice(start, end, by).indices(x.shape[axis]))
    size = [len(range(part.start, part.stop, part.step)) for part in ranges]
    y = graph.output(node.outputs[0], size, x.dtype)
    version = 2 if x.dtype == np.int8 else 1
    begin = vector(graph, node, "begin", [part.start for part in ranges])
    if max(steps) == 1:
        inputs = [x, begin, vector(graph, node, "size", size)]
        graph.write("SLICE", inputs, [y], "SliceOptions", version)
    else:
        stop = vector(graph, node, "end", [part.stop for part in ranges])
        step = vector(graph, node, "strides", [part.step for part in ranges])
        graph.write("STRIDED_SLICE", [x, begin, stop, step], [y], "StridedSliceOptions", version)


def join(graph: Subgraph, node: ir.Node) -> None:
    """Write tensors one after the other."""
    parts = [graph.of(value) for value in node.inputs]
    axis = attribute(node, "axis", 0) % len(parts[0].shape)
    shape = list(parts[0].shape)
    shape[axis] = sum(part.shape[axis] for part in parts)
    y = graph.output(node.outputs[0], shape, parts[0].dtype)
    graph.write("CONCATENATION", parts, [y], "ConcatenationOptions", axis=axis)


def split(graph: Subgraph, node: ir.Node) -> None:
    """Write parts along an axis: SPLIT makes equal ones, SPLIT_V others."""
    x, sizes = graph.of(node.inputs[0]), numbers(graph, node, 1)
    axis, count = attribute(node, "axis", 0) % len(x.shape), len(node.outputs)
    whole = -(-x.shape[axis] // count)
    sizes = sizes or [min(whole, x.shape[axis] - whole * n) for n in range(count)]
    shapes = [(*x.shape[:axis], size, *x.shape[axis + 1 :]) for size in sizes]
    outputs = [
        graph.output(v, shape, x.dtype) for v, shape in zip(node.outputs, shapes, strict=True)
    ]
    place = graph.constant(f"{node.name}.axis", np.array(axis, np.int32))
    if len(set(sizes)) == 1:
        graph.write("SPLIT", [place, x], outputs, "SplitOptions", numSplits=count)
    else:
        inputs = [x, vector(graph, node, "sizes", sizes), place]
        graph.write("SPLIT_V", inputs, outputs, "SplitVOptions", numSplits=count)


def expand(graph: Subgraph, node: ir.Node) -> None:
    """Write x, repeated to a shape."""
    x = graph.of(node.inputs[0])
    shape = np.broadcast_shapes(x.shape, tuple(numbers(graph, node, 1) or ()))
    y = graph.output(node.outputs[0], shape, x.dtype)
    graph.write("BROADCAST_TO", [x, vector(graph, node, "shape", shape)], [y], version=2)


WRITERS: Writers = {
    **{("", name): reshape for name in RESHAPES},
    ("", "Concat"): join,
    ("", "Expand"): expand,
    ("", "Gather"): gather,
    ("", "Slice"): cut,
    ("", "Split"): split,
    ("", "Transpose"): transpose,
}

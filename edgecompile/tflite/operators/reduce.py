"""Operators that sum up along axes: products of matrices, means, Softmax."""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import MICROSOFT
from edgecompile.tflite.operators.read_node import Writers, attribute, numbers, vector
from edgecompile.tflite.subgraph import Subgraph, unsupported

REDUCTIONS = {"ReduceMean": "MEAN", "ReduceSum": "SUM", "ReduceMax": "REDUCE_MAX"}


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


def running_sum(graph: Subgraph, node: ir.Node) -> None:
    """Write the sum of all numbers so far along an axis."""
    x, axis = graph.of(node.inputs[0]), numbers(graph, node, 1)
    y = graph.output(node.outputs[0], x.shape, x.dtype)
    place = graph.constant(f"{node.name}.axis", np.array((axis or [0])[0], np.int32))
    values = {key: bool(attribute(node, key, 0)) for key in ("exclusive", "reverse")}
    graph.write("CUMSUM", [x, place], [y], "CumsumOptions", **values)


WRITERS: Writers = {
    **{("", name): reduction for name in REDUCTIONS},
    ("", "CumSum"): running_sum,
    ("", "MatMul"): product,
    ("", "Softmax"): softmax,
    (MICROSOFT, "FusedMatMul"): product,
}

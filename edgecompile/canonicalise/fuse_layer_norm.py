"""Recognise LayerNormalization in whatever form it was written, by what it computed.

ReduceMean -> Sub -> Pow -> ReduceMean -> + eps -> Sqrt -> Div -> * g -> + b
                                                    ->   LayerNormalization(x, g, b)
"""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import (
    FloatArray,
    add_initializer,
    constant,
    present,
    scalar,
    sole_consumer,
    substitute,
    sweep,
)
from edgecompile.passes import rewrite
from edgecompile.probe import Probe, close

INNER = frozenset({"Sub", "Pow", "Mul", "ReduceMean", "Add", "Sqrt", "Div", "Reciprocal", "Cast"})
REACH = 8


@rewrite()
def fuse_layer_norm(model: ir.Model, probe: Probe) -> ir.Model:
    """Write the operators of a LayerNormalization as one."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "ReduceMean"]:
        if node.graph is not None:
            _fuse(model, node, probe)
    return sweep(model)


def _fuse(model: ir.Model, mean: ir.Node, probe: Probe) -> None:
    x = present(mean.inputs[0])
    seen = probe.of(x)
    if seen is None or seen[0].dtype != np.float32:
        return
    nodes = _below(mean)
    epsilon = _epsilon(nodes, seen[0].var(axis=-1, keepdims=True), probe)
    if epsilon is None:  # what guards the root otherwise is no LayerNormalization
        return
    for node in reversed(nodes):
        y = node.outputs[0]
        arrays = probe.of(y)
        if arrays is None or not close(arrays[0], _normalised(seen[0], epsilon)):
            continue
        width = seen[0].shape[-1]
        scale, last = _vector(node, "Mul", width)
        bias, last = _vector(last, "Add", width)
        values = [
            add_initializer(model.graph, f"{y.name}.{k}", d) if v is None else v
            for k, v, d in (("scale", scale, np.ones(width, np.float32)),
                            ("bias", bias, np.zeros(width, np.float32)))
        ]  # fmt: skip
        attributes = {"axis": -1, "epsilon": epsilon}
        name = last.outputs[0].name
        fused = ir.node("LayerNormalization", [x, *values], attributes, name=name)
        substitute(model.graph, [last], [fused])
        return


def _epsilon(nodes: list[ir.Node], variance: FloatArray, probe: Probe) -> float | None:
    """Return the number that is added to the variance; None if the root is guarded otherwise."""
    for node in [n for n in nodes if n.op_type == "Add"]:
        for number, value in (node.inputs, node.inputs[::-1]):
            if (found := scalar(number)) is not None:
                seen = probe.of(value)
                return found if seen and close(seen[0], variance) else None
    roots = [probe.of(n.inputs[0]) for n in nodes if n.op_type in ("Sqrt", "Pow")]
    return 0.0 if any(seen and close(seen[0], variance) for seen in roots) else None


def _normalised(x: FloatArray, epsilon: float) -> FloatArray:
    centred = x - x.mean(axis=-1, keepdims=True)
    variance = np.square(centred).mean(axis=-1, keepdims=True)
    return np.asarray(centred / np.sqrt(variance + np.float32(epsilon)))


def _below(node: ir.Node) -> list[ir.Node]:
    found: list[ir.Node] = []
    layer = [node]
    for _ in range(REACH):
        near = [n for m in layer for v in m.outputs for n in v.consumers()]
        layer = [n for n in near if n.op_type in INNER and n not in found]
        found += layer
    return found


def _vector(node: ir.Node, op_type: str, width: int) -> tuple[ir.Value | None, ir.Node]:
    """Return the vector that the next node multiplies by or adds, and that node."""
    user = sole_consumer(node.outputs[0], op_type)
    if user is not None:
        for value in user.inputs:
            array = constant(value)
            if array is not None and array.shape == (width,):
                return value, user
    return None, node

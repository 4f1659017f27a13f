"""Recognise Gelu in whatever form it was written, by what it computed.

x / sqrt(2) -> Erf -> + 1 -> * x -> * 0.5   (and all its reorderings)    ->   Gelu(x)
the tanh approximation likewise                                          ->   Gelu(x), tanh
"""

import math

import numpy as np
import onnx_ir as ir

from edgecompile.graph import FloatArray, substitute, sweep
from edgecompile.passes import rewrite
from edgecompile.probe import Probe, close

ELEMENTWISE = frozenset({"Add", "Sub", "Mul", "Div", "Pow", "Erf", "Tanh", "Cast"})
REACH = 8
"""How many operators the longest known form has on either side of its Erf or Tanh."""
SAMPLED = 512


@rewrite()
def fuse_gelu(model: ir.Model, probe: Probe) -> ir.Model:
    """Write the operators of a Gelu as one Gelu."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type in ("Erf", "Tanh")]:
        if node.graph is not None:
            _fuse(model, node, probe)
    return sweep(model)


def _fuse(model: ir.Model, node: ir.Node, probe: Probe) -> None:
    formula, attributes = FORMULAS[node.op_type]
    outputs = [(y, s[0]) for y in _walk(node, down=True) if (s := probe.of(y)) is not None]
    for x in _walk(node, down=False):
        if (seen := probe.of(x)) is None or x.is_initializer():
            continue
        wanted = formula(_sample(seen[0]))
        for y, array in reversed(outputs):
            if close(_sample(array), wanted):
                gelu = ir.node("Gelu", [x], attributes, name=f"{y.name}.gelu")
                producer = y.producer()
                if producer is not None:
                    substitute(model.graph, [producer], [gelu])
                return


def _walk(node: ir.Node, *, down: bool) -> list[ir.Value]:
    """Return the tensors below or above a node that elementwise operators lead to."""
    found: list[ir.Value] = []
    layer = [node]
    for _ in range(REACH):
        values = [v for n in layer for v in (n.outputs if down else n.inputs) if v is not None]
        found += [v for v in values if v not in found]
        near = [n for v in values for n in (v.consumers() if down else (v.producer(),))]
        layer = [n for n in near if n is not None and n.op_type in ELEMENTWISE]
    return found


def _sample(array: FloatArray) -> FloatArray:
    return array.reshape(-1)[:SAMPLED]


def _erf_gelu(x: FloatArray) -> FloatArray:
    return np.array([0.5 * v * (1 + math.erf(v / math.sqrt(2))) for v in x.tolist()], x.dtype)


def _tanh_gelu(x: FloatArray) -> FloatArray:
    inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
    return np.asarray(0.5 * x * (1 + np.tanh(inner)), x.dtype)


FORMULAS = {"Erf": (_erf_gelu, {}), "Tanh": (_tanh_gelu, {"approximate": "tanh"})}

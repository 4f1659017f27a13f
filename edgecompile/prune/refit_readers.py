"""Give a group's readers the weights that make the most of the units that are left.

y = h_kept @ W2[kept] + b2    ->    y = h_kept @ V + c        (V and c: see fit_weights.py)
"""

from collections.abc import Mapping

import onnx_ir as ir

from edgecompile.graph import FloatArray, add_initializer, linears, sweep

Fitted = Mapping[str, tuple[FloatArray, FloatArray]]
"""Weight [in, out] and bias [out] by the name of the Linear."""


def refit_readers(model: ir.Model, fitted: Fitted) -> ir.Model:
    """Return a model with these weights; a Linear without a bias gets none."""
    model = model.clone()
    for linear in list(linears(model.graph)):
        if linear.name not in fitted:
            continue
        weight, bias = fitted[linear.name]
        _replace(model.graph, linear.matmul, linear.weight, weight)
        if linear.add is not None and linear.bias is not None:
            _replace(model.graph, linear.add, linear.bias, bias)
    return sweep(model)


def _replace(graph: ir.Graph, node: ir.Node, old: ir.Value, array: FloatArray) -> None:
    """Let one node read an array of its own; it takes the old one's name if nothing else does."""
    name = str(old.name)
    index = next(i for i, value in enumerate(node.inputs) if value is old)
    if len(old.uses()) == 1:
        del graph.initializers[name]
    node.replace_input_with(index, add_initializer(graph, name, array))

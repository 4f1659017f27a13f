"""Compute what depends on no input.

    y = Transpose(W)   ->   y, an initializer
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import no_constant_nodes
from edgecompile.graph import add_initializer, constant, replace_value, sweep
from edgecompile.passes import rewrite


@rewrite(gives=[no_constant_nodes])
def fold_constants(model: ir.Model) -> ir.Model:
    """Evaluate nodes whose inputs are all initializers."""
    model = model.clone()
    for node in list(model.graph):
        arrays = [constant(v) for v in node.inputs if v is not None]
        if not node.inputs or any(a is None for a in arrays) or node.domain:
            continue
        for value, array in zip(node.outputs, _evaluate(node, model), strict=True):
            folded = add_initializer(model.graph, f"{value.name}.folded", array)
            replace_value(value, folded)
    return sweep(model)


def _evaluate(node: ir.Node, model: ir.Model) -> list[np.ndarray]:
    from onnx.reference import ReferenceEvaluator

    inputs = {str(v.name): constant(v) for v in node.inputs if v is not None}
    copy = ir.Node(
        node.domain, node.op_type,
        [ir.Value(name=v.name, type=v.type, shape=v.shape) if v is not None else None for v in node.inputs],
        node.attributes.values(),
        outputs=[ir.Value(name=v.name, type=v.type) for v in node.outputs],
    )  # fmt: skip
    unique = {v.name: v for v in copy.inputs if v is not None}
    graph = ir.Graph(
        list(unique.values()), list(copy.outputs), nodes=[copy],
        opset_imports=dict(model.graph.opset_imports), name="fold",
    )  # fmt: skip
    proto = ir.to_proto(ir.Model(graph, ir_version=model.ir_version))
    return ReferenceEvaluator(proto).run(None, inputs)

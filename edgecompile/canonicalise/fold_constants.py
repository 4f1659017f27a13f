"""Compute what depends on no input.

y = Transpose(W)          ->   y, an initializer
y = If(True, yes, no)     ->   the nodes of `yes`
"""

from typing import Any

import onnx_ir as ir

from edgecompile.errors import ModelError
from edgecompile.facts import RANDOM, no_constant_nodes
from edgecompile.graph import (
    Array,
    add_initializer,
    constant,
    present,
    replace_value,
    sweep,
    weight_array,
)
from edgecompile.passes import rewrite

SUBGRAPHS = (ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS)
"""A Loop's or Scan's body may read what the evaluator does not see."""


@rewrite(gives=[no_constant_nodes])
def fold_constants(model: ir.Model) -> ir.Model:
    """Evaluate nodes whose inputs are all initializers."""
    model = model.clone()
    for node in list(model.graph):
        _fold(model, node)
    return sweep(model)


def _fold(model: ir.Model, node: ir.Node) -> None:
    arrays = [constant(v) for v in node.inputs if v is not None]
    if not node.inputs or any(a is None for a in arrays) or node.domain:
        return
    if node.op_type in RANDOM:
        return
    if node.op_type == "If":
        for inner in _take_branch(model.graph, node):
            _fold(model, inner)
        return
    if any(attribute.type in SUBGRAPHS for attribute in node.attributes.values()):
        return
    for value, array in zip(node.outputs, _evaluate(node, model), strict=True):
        folded = add_initializer(model.graph, f"{value.name}.folded", array)
        replace_value(value, folded)


def _take_branch(graph: ir.Graph, node: ir.Node) -> list[ir.Node]:
    """Put the nodes of the branch that a constant condition chooses in the place of an If."""
    chosen = "then_branch" if weight_array(present(node.inputs[0])).item() else "else_branch"
    branch = node.attributes[chosen].as_graph()
    for value in list(branch.initializers.values()):
        moved = add_initializer(graph, str(value.name), weight_array(value))
        replace_value(value, moved)
    nodes = list(branch)
    outputs = list(branch.outputs)
    branch.outputs.clear()
    branch.remove(nodes)
    graph.insert_before(node, nodes)
    for old, new in zip(node.outputs, outputs, strict=True):
        replace_value(old, new)
    return nodes


def _evaluate(node: ir.Node, model: ir.Model) -> list[Array]:
    """Run one node, alone in a graph, in onnx's reference implementation."""
    from onnx.reference import ReferenceEvaluator

    inputs = {v.name: ir.Value(name=v.name, type=v.type) for v in node.inputs if v is not None}
    outputs = [ir.Value(name=v.name, type=v.type) for v in node.outputs]
    alone = ir.Node(
        node.domain,
        node.op_type,
        [None if v is None else inputs[v.name] for v in node.inputs],
        node.attributes.values(),
        outputs=outputs,
    )
    opsets = dict(model.graph.opset_imports)
    graph = ir.Graph(
        list(inputs.values()), outputs, nodes=[alone], opset_imports=opsets, name="one"
    )
    proto = ir.to_proto(ir.Model(graph, ir_version=model.ir_version))
    feed = {str(v.name): weight_array(v) for v in node.inputs if v is not None}
    try:
        arrays: Any = ReferenceEvaluator(proto).run(None, feed)
    except Exception as error:  # the evaluator raises what its operators do
        msg = f"node '{node.name}' ({node.op_type}) is a constant that cannot be computed: {error}"
        raise ModelError(" ".join(msg.split())) from error
    return list(arrays)

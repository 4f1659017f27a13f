"""Say of each node where it runs: on the host before the encoder, on the NPU, on the host after it.

    ids -> lookups, their LayerNormalization | Linears, attention, LayerNormalizations | pooling
           "embed"                           | "encoder"                               | "pool"

The encoder is what lies between the first Linear and the last Linear or LayerNormalization, as far
as every operator has an integer form. What is left over must hold no weights to speak of.
"""

import onnx_ir as ir

from edgecompile.errors import UnsupportedError
from edgecompile.facts import PLACED, no_attention, no_layer_norms, nodes_are_placed
from edgecompile.graph import MICROSOFT, RSQRT, constant, linears, scalar, weight_of
from edgecompile.passes import rewrite
from edgecompile.placement import (
    EMBED,
    ENCODER,
    POOL,
    before,
    behind_linears,
    place,
    pull_to_pool,
)

SMALL_SHARE = 0.1
"""What share of the weights of all Linears may be left to the host: a classifier's, at most."""
FORMED = frozenset({
    "Add", "Gelu", "MatMul", "Mul", "ReduceMean", "Relu", "Reshape", "Softmax", "Sub", "Tanh",
    "Transpose",
})  # fmt: skip
"""Operators that this engine has an integer form of, with (MICROSOFT, "FusedMatMul") and RSQRT."""


@rewrite(needs=[no_attention, no_layer_norms], gives=[nodes_are_placed])
def place_nodes(model: ir.Model) -> ir.Model:
    """Note each node's place in its metadata."""
    model = model.clone()
    behind = behind_linears(model.graph)
    formed: set[ir.Node] = set()
    stops: list[ir.Node] = []
    for node in model.graph:
        if node in behind:
            held = [p for v in node.inputs if v is not None and (p := v.producer()) in behind]
            if has_form(node) and all(p in formed for p in held):
                formed.add(node)
            elif all(p in formed for p in held):
                stops.append(node)
    anchors = [node for node in formed if _is_anchor(node)]
    encoder = before(anchors) & formed
    _check_share(model.graph, encoder, stops)
    for node in model.graph:
        place(node, ENCODER if node in encoder else POOL if node in behind else EMBED)
    pull_to_pool(model.graph)
    model.metadata_props[PLACED] = "yes"
    return model


def has_form(node: ir.Node) -> bool:
    """Say whether an operator can be written in integers."""
    if node.domain == MICROSOFT:
        return node.op_type == "FusedMatMul"
    if node.op_type == "Pow":
        return scalar(node.inputs[1]) == RSQRT
    return not node.domain and node.op_type in FORMED


def _is_anchor(node: ir.Node) -> bool:
    """Say whether a node is a Linear, or the last of a LayerNormalization: both add a vector."""
    vectors = [a for v in node.inputs if (a := constant(v)) is not None and a.ndim in (1, 2)]
    return node.op_type in ("MatMul", "Add") and bool(vectors)


def _check_share(graph: ir.Graph, encoder: set[ir.Node], stops: list[ir.Node]) -> None:
    every = list(linears(graph))
    total = sum(weight_of(linear).size for linear in every)
    left = [linear for linear in every if linear.matmul not in encoder]
    if not every:
        msg = "the model has no Linear: there is nothing for the NPU"
        raise UnsupportedError(msg)
    if sum(weight_of(linear).size for linear in left) > SMALL_SHARE * total:
        first = stops[0] if stops else left[0].matmul
        msg = (
            f"node '{first.name}' ({first.op_type}) has no form on Ethos-U, and {len(left)} of"
            f" {len(every)} Linears lie behind it; choose another target for this model"
        )
        raise UnsupportedError(msg)

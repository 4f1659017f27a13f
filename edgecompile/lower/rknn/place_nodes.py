"""Say of each node where it runs: on the host before the encoder, on the NPU, on the host after it.

    ids -> lookups, their LayerNormalization, mask | Linears, attention, norms | pooling, heads
           "embed"                                 | "encoder"                 | "pool"

The encoder is what works on every token, from the first Linear to the last Linear or
LayerNormalization. With integer ids inside, rknn-toolkit2 logs operators that it has no place for;
a pooled vector is no work, and float on the host.
"""

import onnx_ir as ir

from edgecompile.errors import UnsupportedError
from edgecompile.facts import PLACED, no_standard_gelu, nodes_are_placed, tokens_are_flat
from edgecompile.graph import sizes
from edgecompile.passes import rewrite
from edgecompile.placement import (
    EMBED,
    ENCODER,
    POOL,
    before,
    behind_linears,
    is_gemm,
    place,
    place_of,
    pull_to_pool,
)


@rewrite(needs=[tokens_are_flat, no_standard_gelu], gives=[nodes_are_placed])
def place_nodes(model: ir.Model) -> ir.Model:
    """Note each node's place in its metadata."""
    model = model.clone()
    graph = model.graph
    rows = max((_rows(node) for node in graph if is_gemm(node)), default=0)
    if not rows:
        msg = "the model has no Linear: there is nothing for the NPU; choose another target"
        raise UnsupportedError(msg)
    behind = behind_linears(graph)
    anchors = [node for node in behind if _is_anchor(node) and _rows(node) == rows]
    encoder = before(anchors) & behind
    for node in graph:
        place(node, ENCODER if node in encoder else POOL if node in behind else EMBED)
    pull_to_pool(graph)
    for value in graph.inputs:
        _hand_on(graph, value)
    model.metadata_props[PLACED] = "yes"
    return model


def _is_anchor(node: ir.Node) -> bool:
    return is_gemm(node) or node.op_type == "LayerNormalization"


def _rows(node: ir.Node) -> int:
    """Return how many tokens a node works on."""
    y = node.outputs[0]
    return sizes(y)[0] if y.shape is not None and len(y.shape) == 2 else 0


def _hand_on(graph: ir.Graph, value: ir.Value) -> None:
    """Let the host's first part give the encoder an input of the model: all comes from there."""
    readers = [(node, index) for node, index in value.uses() if place_of(node) == ENCODER]
    if not readers:
        return
    same = place(ir.node("Identity", [value], name=f"{value.name}.given"), EMBED)
    y = same.outputs[0]
    y.name, y.shape, y.type = f"{value.name}.given", value.shape, value.type
    graph.insert_before(graph[0], same)
    for node, index in readers:
        node.replace_input_with(index, y)

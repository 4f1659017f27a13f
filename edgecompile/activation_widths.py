"""Which operators work with activations of 8 bits, and which with 16.

`accurate`: all with 16. `fast`: attention's products and the Linears around them with 8; the
residual stream, LayerNormalization, softmax and the FFN, which lose most by it, with 16.
"""

import onnx_ir as ir

from edgecompile.lower.qnn.split_tables import is_lookup

MOVES = frozenset({"Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Identity"})
"""What moves numbers and changes none: its output is rounded as its input is."""


def moves(node: ir.Node) -> bool:
    """Say whether a node only moves numbers: one of MOVES, or a Gather of computed rows."""
    if node.op_type == "Gather":
        return node.inputs[0] is not None and not node.inputs[0].is_initializer()
    return not node.domain and node.op_type in MOVES


def source(value: ir.Value) -> ir.Value:
    """Return the tensor whose numbers a tensor holds, moved."""
    node = value.producer()
    while node is not None and moves(node) and node.inputs[0] is not None:
        value = node.inputs[0]
        node = value.producer()
    return value


def choose_widths(graph: ir.Graph, profile: str) -> dict[ir.Node, int]:
    """Return the bits of what each node reads and gives; a node that moves is not in it."""
    narrow: set[ir.Node] = {node for node in graph if node.op_type == "Gather" and is_lookup(node)}
    if profile == "fast":
        products = {node for node in graph if _is_product(node)}
        narrow |= products
        made = {source(v) for node in products for v in node.inputs if v is not None}
        for node in graph:
            if node.op_type == "Gemm":
                reads = source(node.inputs[0]).producer() if node.inputs[0] is not None else None
                if node.outputs[0] in made or reads in products:
                    narrow.add(node)
    return {node: 8 if node in narrow else 16 for node in graph if not moves(node)}


def _is_product(node: ir.Node) -> bool:
    return node.op_type == "MatMul" and not any(
        v is None or v.is_initializer() for v in node.inputs
    )

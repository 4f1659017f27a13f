"""Say of each node where it runs: ESP-DL's Gather takes constant indices alone.

    ids -> lookups and their sum | LayerNormalization, Linears, attention, pooling
           "embed"               | "encoder"

What depends on ids alone is the host's, up to the first operator that computes; the rest the
chip's. Without ids, all is the chip's.
"""

import onnx_ir as ir

from edgecompile.errors import UnsupportedError
from edgecompile.facts import PLACED, nodes_are_placed
from edgecompile.passes import rewrite
from edgecompile.placement import EMBED, ENCODER, place
from edgecompile_esp.facts import no_clips, weights_are_rounded

COMPUTES = frozenset({"Gemm", "LayerNormalization", "MatMul"})
TAKEN = frozenset({
    "Add", "AveragePool", "Concat", "Conv", "DequantizeLinear", "Div", "Elu", "Erf", "Exp",
    "Flatten", "Gelu", "Gemm", "GlobalAveragePool", "HardSigmoid", "HardSwish",
    "LayerNormalization", "Log", "MatMul", "MaxPool", "Mul", "Neg", "Pad", "ReduceMax",
    "ReduceMean", "ReduceMin", "ReduceSum", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax",
    "Split", "Sqrt", "Squeeze", "Sub", "Tanh", "Transpose", "Unsqueeze",
})  # fmt: skip
"""What esp-ppq 1.3.12 writes for ESP-DL with 16 bits and simulates; DequantizeLinear is a weight's.
"""


@rewrite(needs=[no_clips, weights_are_rounded], gives=[nodes_are_placed])
def place_nodes(model: ir.Model) -> ir.Model:
    """Note each node's place in its metadata; refuse what the chip does not take."""
    model = model.clone()
    own = {value for value in model.graph.inputs if value.dtype != ir.DataType.FLOAT}
    for node in model.graph:
        given = [v for v in node.inputs if v is not None and not v.is_initializer()]
        host = bool(given) and node.op_type not in COMPUTES and own.issuperset(given)
        own |= set(node.outputs) if host else set()
        if not host and not _is_taken(node):
            msg = (
                f"node '{node.name}' ({node.op_type}) has no 16-bit form in ESP-DL that esp-ppq"
                " simulates; choose another target for this model"
            )
            raise UnsupportedError(msg)
        place(node, EMBED if host else ENCODER)
    model.metadata_props[PLACED] = "yes"
    return model


def _is_taken(node: ir.Node) -> bool:
    if node.op_type == "Gather":
        indices = node.inputs[1]
        return not node.domain and indices is not None and indices.is_initializer()
    return not node.domain and node.op_type in TAKEN

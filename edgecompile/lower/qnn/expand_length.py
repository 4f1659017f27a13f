"""Write the length of a vector in operators that every HTP takes: Hexagon V68 has no ReduceL2.

ReduceL2(x)   ->   Sqrt(ReduceSum(x * x))
"""

import onnx_ir as ir

from edgecompile.facts import no_reduce_l2
from edgecompile.graph import substitute, sweep
from edgecompile.lower.litert.expand_operators import EXPANSIONS
from edgecompile.passes import rewrite


@rewrite(gives=[no_reduce_l2])
def expand_length(model: ir.Model) -> ir.Model:
    """ReduceL2 -> Mul, ReduceSum, Sqrt."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "ReduceL2" and not n.domain]:
        tape = ir.tape.Tape()
        EXPANSIONS["ReduceL2"](model.graph, tape, node)
        substitute(model.graph, [node], tape.nodes)
    return sweep(model)

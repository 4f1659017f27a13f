"""Write attention as matrix products and Softmax, as for LiteRT: nothing is equalised here."""

import onnx_ir as ir

from edgecompile.facts import no_attention, shapes_inferred
from edgecompile.graph import MICROSOFT, sweep
from edgecompile.lower.litert.expand_attention import expand
from edgecompile.passes import rewrite


@rewrite(needs=[shapes_inferred], gives=[no_attention])
def expand_attention(model: ir.Model) -> ir.Model:
    """Attention -> Mul, Reshape, Transpose, FusedMatMul, Add, Softmax."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "Attention" and not n.domain]:
        expand(model.graph, node)
        model.graph.opset_imports[MICROSOFT] = 1
    return sweep(model)

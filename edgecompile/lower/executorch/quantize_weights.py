"""Round weights and tables to int8, as for Core ML; XNNPACK rounds what they multiply row by row.

    y = x W + b   ->   y = x DequantizeLinear(Wq, scale[out]) + b'

Shapes may be open.
"""

import onnx_ir as ir

from edgecompile.facts import equalised, linears_are_int8, no_attention
from edgecompile.lower.coreml import quantize_weights as coreml
from edgecompile.passes import rewrite
from edgecompile.plan import Plan


@rewrite(needs=[equalised, no_attention], gives=[linears_are_int8])
def quantize_weights(model: ir.Model, plan: Plan) -> ir.Model:
    """Put a DequantizeLinear before each weight that is rounded."""
    rounded: ir.Model = coreml.quantize_weights.run(model, plan)
    return rounded

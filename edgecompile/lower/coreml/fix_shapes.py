"""State every shape, as for Qualcomm's HTP: batch 1, the target's token count.

ids: [batch, sequence]   ->   ids: [1, 128] int32; the mask float, and nothing casts it
"""

import onnx_ir as ir

from edgecompile.facts import no_attention, no_constant_nodes, shapes_inferred
from edgecompile.lower.qnn import fix_shapes as qnn
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[no_attention], gives=[shapes_inferred, no_constant_nodes])
def fix_shapes(model: ir.Model, target: Target) -> ir.Model:
    """Bind the inputs' axes, then compute what depended on them alone."""
    fixed: ir.Model = qnn.fix_shapes.run(model, target)
    return fixed

"""State every shape, as for Qualcomm's HTP: batch 1, the target's token count."""

import onnx_ir as ir

from edgecompile.facts import mask_is_limited, no_constant_nodes, shapes_inferred
from edgecompile.lower.qnn import fix_shapes as qnn
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[mask_is_limited], gives=[shapes_inferred, no_constant_nodes])
def fix_shapes(model: ir.Model, target: Target) -> ir.Model:
    """Bind the inputs' axes, then compute what depended on them alone."""
    fixed: ir.Model = qnn.fix_shapes.run(model, target)
    return fixed

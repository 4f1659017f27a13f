"""Note the longest text: memory is planned for it. Shorter ones are computed as they are.

x: [batch, sequence]   ->   x: [1, s], s up to 128
"""

import onnx_ir as ir

from edgecompile.facts import LENGTHS, linears_are_int8
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[linears_are_int8])
def set_lengths(model: ir.Model, target: Target) -> ir.Model:
    """Write the target's longest length into the metadata."""
    model = model.clone()
    model.metadata_props[LENGTHS] = str(max(target.lengths, default=0))
    return model

"""Note the token counts that the artifact is written for: TFLite's shapes are fixed.

x: [batch, sequence]   ->   the file holds a graph for each of 16, 64, 128, ... tokens, batch 1
"""

import onnx_ir as ir

from edgecompile.facts import LENGTHS, linears_are_int8, no_attention, no_layer_norms
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[linears_are_int8, no_attention, no_layer_norms])
def set_lengths(model: ir.Model, target: Target) -> ir.Model:
    """Write the target's lengths into the metadata."""
    model = model.clone()
    model.metadata_props[LENGTHS] = ",".join(map(str, sorted(target.lengths)))
    return model

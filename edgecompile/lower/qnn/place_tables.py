"""Say of each node where it runs: before the first Linear on the host, if the tables are there.

tables = "npu"    ids -> the whole model
tables = "host"   ids -> lookups, their LayerNormalization, mask | the rest
on the host                             | on the NPU
"""

import onnx_ir as ir

from edgecompile.facts import PLACED, no_standard_gelu, nodes_are_placed, tokens_are_flat
from edgecompile.passes import rewrite
from edgecompile.placement import EMBED, ENCODER, behind_linears, place
from edgecompile.target import Target

HOST = "host"


@rewrite(needs=[tokens_are_flat, no_standard_gelu], gives=[nodes_are_placed])
def place_tables(model: ir.Model, target: Target) -> ir.Model:
    """Note each node's place in its metadata."""
    model = model.clone()
    behind = behind_linears(model.graph)
    for node in model.graph:
        hosted = target.forms.tables == HOST and node not in behind
        place(node, EMBED if hosted else ENCODER)
    model.metadata_props[PLACED] = "yes"
    return model

"""Write Gelu in the form that the target's file names.

Gelu(x)   ->   Gelu(x, approximate = "tanh")   at most 4.7e-4 away from erf
"""

import onnx_ir as ir

from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite()
def convert_gelu(model: ir.Model, target: Target) -> ir.Model:
    """Let each Gelu say which formula it is."""
    model = model.clone()
    for node in model.graph:
        if node.op_type == "Gelu" and not node.domain and target.forms.gelu == "tanh":
            node.attributes["approximate"] = ir.AttrString("approximate", "tanh")
    return model

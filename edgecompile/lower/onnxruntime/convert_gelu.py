"""Write Gelu as onnxruntime's own operator, whole: it is vectorised, and any opset takes it.

Gelu(x)   ->   com.microsoft.Gelu(x)       erf, exact
          ->   com.microsoft.FastGelu(x)   tanh, at most 4.7e-4 away from erf
"""

import onnx_ir as ir

from edgecompile.facts import no_standard_gelu
from edgecompile.graph import MICROSOFT, substitute
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(gives=[no_standard_gelu])
def convert_gelu(model: ir.Model, target: Target) -> ir.Model:
    """Write each Gelu in the form that the target's file names."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "Gelu" and not n.domain]:
        wanted = node.attributes.get("approximate")
        tanh = target.forms.gelu == "tanh" or (wanted and wanted.as_string() == "tanh")
        op_type = "FastGelu" if tanh else "Gelu"
        gelu = ir.node(op_type, list(node.inputs), domain=MICROSOFT, name=node.name)
        model.graph.opset_imports[MICROSOFT] = 1
        substitute(model.graph, [node], [gelu])
    return model

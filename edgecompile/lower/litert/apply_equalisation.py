"""Put the plan's equalising factors into the float graph, each as a Mul of its own.

    y = Linear(x, W)   ->   y = Linear(Mul(x, 1 / s), s W)

Not in v's Linear, as for onnxruntime: the plan states what a Linear gives, which would change.
"""

import onnx_ir as ir

from edgecompile.facts import equalised, linears_are_matmuls
from edgecompile.lower.onnxruntime.apply_equalisation import equalise
from edgecompile.passes import rewrite
from edgecompile.plan import Plan


@rewrite(needs=[linears_are_matmuls], gives=[equalised])
def apply_equalisation(model: ir.Model, plan: Plan) -> ir.Model:
    """Divide each planned activation by its factors and multiply the weights that read it."""
    return equalise(model, plan, into_values=False)

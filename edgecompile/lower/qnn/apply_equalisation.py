"""Put those equalising factors into the float graph that cost nothing there, or are worth it.

    attention output, then Linear   ->   v's Linear takes 1 / s, the reader takes s
    x, then q, k and v at 8 bits    ->   Mul(x, 1 / s), and s goes into the three

With activations of 16 bits the other factors gain nothing on MiniLM and cost a Mul each.
"""

from dataclasses import replace

import numpy as np
import onnx_ir as ir

from edgecompile.facts import equalised, linears_are_matmuls
from edgecompile.graph import Linear, linears
from edgecompile.lower.onnxruntime.apply_equalisation import equalise, value_projection
from edgecompile.passes import rewrite
from edgecompile.plan import Activation, Plan
from edgecompile.target import Target

FREE = "edgecompile.free_factors"
"""Metadata key: the tensors whose factors are in the graph, a line each."""


@rewrite(needs=[linears_are_matmuls], gives=[equalised])
def apply_equalisation(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """Apply the factors around attention; leave out all others."""
    every = list(linears(model.graph))
    by_output = {linear.y.name: linear for linear in every}
    free = {
        str(linear.x.name)
        for linear in every
        if value_projection(linear.x, by_output, len(linear.x.uses())) is not None
    }
    if target.profile == "fast":
        free |= {str(linear.x.name) for linear in every if _is_projection(linear)}
    activations = {n: a if n in free else plain(a) for n, a in plan.activations.items()}
    model = equalise(model, replace(plan, activations=activations), into_values=True)
    model.metadata_props[FREE] = "\n".join(sorted(free))
    return model


def _is_projection(linear: Linear) -> bool:
    """Say whether a Linear makes an attention's q, k or v."""
    return any(node.op_type == "Attention" for node in linear.y.consumers())


def plain(activation: Activation) -> Activation:
    """Return what x itself has, given what x / s has."""
    s, hessian = activation.smoothing, activation.hessian
    return replace(
        activation,
        smoothing=np.ones_like(s),
        mean=activation.mean * s,
        hessian=None if hessian is None else hessian * np.outer(s, s),
    )

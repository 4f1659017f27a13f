"""The plan where only weights are rounded: nothing is observed, every Linear is in it."""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import dim, linears
from edgecompile.plan import Activation, Plan
from edgecompile.quantize.decide_plan import small_outputs


def plan_weights(model: ir.Model, weights: str) -> Plan:
    """Return the plan for a canonical graph and a format, "int8" or "int4".

    Its activations say which tensors the planned Linears read, for the ladder; their ranges are
    empty, their factors 1.
    """
    kept = small_outputs(model)
    planned = [linear for linear in linears(model.graph) if linear.name not in kept]
    widths = {str(linear.x.name): dim(linear.weight, 0) for linear in planned}
    activations = {name: _unobserved(width) for name, width in widths.items()}
    return Plan(activations, kept, embeddings=weights, weights=weights)


def _unobserved(width: int) -> Activation:
    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    return Activation(0.0, 0.0, ones, zeros, 0.0)

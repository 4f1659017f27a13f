"""The plan that a graph will get, before anything is observed.

It is right in all that sizes and times depend on, which Linears are int8 and which tensors are
equalised, and wrong in every range: what it makes is to be weighed and timed, never to be used.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import dim, linears
from edgecompile.plan import FLOAT, Plan
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_ranges import Observed
from edgecompile.quantize.plan_weights import plan_weights
from edgecompile.recipe import WEIGHT_SCHEMES, QuantizeTable


def assume_plan(model: ir.Model, wishes: QuantizeTable) -> Plan:
    """Return the plan for a canonical graph; each activation is taken to lie in [-4, 4]."""
    if wishes.scheme == "none":
        return FLOAT
    if wishes.scheme in WEIGHT_SCHEMES:
        return plan_weights(model, WEIGHT_SCHEMES[wishes.scheme])
    widths = {str(linear.x.name): dim(linear.weight, 0) for linear in linears(model.graph)}
    seen = {name: _observed(width) for name, width in widths.items()}
    return decide_plan(model, seen, equalise=wishes.equalise, correct_bias=wishes.bias_correction)


def _observed(width: int) -> Observed:
    peak = np.linspace(2.0, 4.0, width, dtype=np.float32)
    return Observed(-peak, peak, np.zeros(width), 1)

"""Join factors that follow each other: an output's own, an attention's, an input's.

Mul(Mul(x, a[C]), b)   ->   Mul(x, (a b)[C])
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import equalised, linears_are_int8, no_attention
from edgecompile.graph import (
    Array,
    add_initializer,
    constant,
    present,
    sole_consumer,
    substitute,
    sweep,
)
from edgecompile.passes import rewrite


@rewrite(needs=[equalised, no_attention, linears_are_int8])
def fold_factors(model: ir.Model) -> ir.Model:
    """Mul by a constant, then Mul by a constant -> one Mul, where nothing else reads between."""
    model = model.clone()
    for first in [node for node in model.graph if node.op_type == "Mul"]:
        second = sole_consumer(first.outputs[0], "Mul")
        if second is None or (a := _factor(first)) is None or (b := _factor(second)) is None:
            continue
        (x,) = (value for value in first.inputs if constant(value) is None)
        name = str(second.name)
        product = add_initializer(model.graph, f"{name}.factor", np.asarray(a * b, np.float32))
        joined = ir.node("Mul", [present(x), product], name=name)
        substitute(model.graph, [first, second], [joined])
    return sweep(model)


def _factor(node: ir.Node) -> Array | None:
    """Return what a Mul multiplies another tensor by: a constant number or vector."""
    arrays = [array for value in node.inputs if (array := constant(value)) is not None]
    return arrays[0] if len(arrays) == 1 and arrays[0].ndim <= 1 else None

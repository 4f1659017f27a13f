"""Remove what keeps a divisor from 0, where it never is: no text has no token.

y = Div(x, Clip(n, 1e-9))   ->   y = Div(x, n)

With 16 bits esp-ppq writes a Clip as a table of 257 entries, and simulates an exact one.
"""

import onnx_ir as ir

from edgecompile.errors import UnsupportedError
from edgecompile.facts import tokens_are_flat
from edgecompile.graph import present, replace_value, scalar, sweep
from edgecompile.passes import rewrite
from edgecompile_esp.facts import no_clips

TINY = 1e-6


@rewrite(needs=[tokens_are_flat], gives=[no_clips])
def remove_floors(model: ir.Model) -> ir.Model:
    """Div by a Clip -> Div."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "Clip" and _is_floor(n)]:
        replace_value(node.outputs[0], present(node.inputs[0]))
    model = sweep(model)
    if fault := no_clips(model):
        msg = f"{fault}, which esp-ppq rounds coarsely and does not simulate; choose another target"
        raise UnsupportedError(msg)
    return model


def _is_floor(node: ir.Node) -> bool:
    floor = scalar(node.inputs[1]) if len(node.inputs) > 1 else None
    alone = len(node.inputs) < 3 or node.inputs[2] is None
    users = node.outputs[0].uses()
    divides = all(use.node.op_type == "Div" and use.idx == 1 for use in users)
    return floor is not None and 0 <= floor <= TINY and alone and bool(users) and divides

"""Remove what only renames a tensor.

y = Identity(x), Dropout(x), Cast(x) to the type that x has   ->   x
"""

import onnx_ir as ir

from edgecompile.facts import must_stay, no_identity
from edgecompile.graph import present, replace_value, sweep
from edgecompile.passes import rewrite
from edgecompile.probe import Probe


@rewrite(gives=[no_identity])
def remove_identity(model: ir.Model, probe: Probe) -> ir.Model:
    """Identity, Dropout and idle Cast -> nothing."""
    model = model.clone()
    for node in list(model.graph):
        idle = node.op_type in ("Identity", "Dropout") or _is_idle_cast(node, probe)
        if idle and not must_stay(node):
            replace_value(node.outputs[0], present(node.inputs[0]))
    return sweep(model)


def _is_idle_cast(node: ir.Node, probe: Probe) -> bool:
    if node.op_type != "Cast":
        return False
    before, after = probe.of(node.inputs[0]), probe.of(node.outputs[0])
    return before is not None and after is not None and before[0].dtype == after[0].dtype

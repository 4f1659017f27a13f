"""Leave whole layers out: what read a layer's output reads its input.

x -> layer -> y -> next   ->   x -> next
"""

from collections.abc import Collection, Iterable

import onnx_ir as ir

from edgecompile.errors import PruneError
from edgecompile.graph import replace_value, sweep
from edgecompile.prune.find_layers import Layer


def remove_layers(model: ir.Model, layers: Iterable[Layer], drop: Collection[str]) -> ir.Model:
    """Return a model without the layers that `drop` names; one of `layers` at least stays."""
    found = list(layers)
    known = {layer.name for layer in found}
    if unknown := set(drop) - known:
        names = ", ".join(layer.name for layer in found) or "none"
        msg = f"no layer named '{min(unknown)}' that can be removed; known: {names}"
        raise PruneError(msg)
    if known and known == set(drop):
        msg = f"all {len(known)} layers would be removed: one at least must stay"
        raise PruneError(msg)
    model = model.clone()
    values = {str(v.name): v for node in model.graph for v in node.outputs}
    values |= {str(v.name): v for v in model.graph.inputs}
    instead: dict[str, ir.Value] = {}
    for layer in found:
        if layer.name in drop:
            start = instead.get(layer.reads, values[layer.reads])
            instead[layer.gives] = start
            replace_value(values[layer.gives], start)
    return sweep(model)

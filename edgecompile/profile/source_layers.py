"""From the names of a runtime's nodes back to the layers of the source model."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

LINEAR = "Linear"
SEPARATORS = "./_:"
"""What a pass, or a runtime's optimiser, puts between a node's name and what it adds."""


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer's name in the source model, and what it does there: an operator, or "Linear"."""

    name: str
    does: str


def layers_of(model: "ir.Model") -> dict[str, Layer]:
    """Return the layers of a canonical graph by each name that a node of theirs may have."""
    from edgecompile.graph import linears

    found = {str(n.name): Layer(str(n.name), n.op_type) for n in model.graph if n.name}
    for linear in linears(model.graph):
        layer = Layer(linear.name, LINEAR)
        found |= dict.fromkeys((linear.name, *(str(node.name) for node in linear.nodes)), layer)
    return found


def layer_of(node: str, layers: Mapping[str, Layer]) -> Layer | None:
    """Return the layer that a node of a lowered graph belongs to: the longest name it begins with.

    Lowering names what it makes of a layer after it: `dense` -> `dense.equalised.int8`.
    """
    end = len(node)
    while end > 0:
        if (end == len(node) or node[end] in SEPARATORS) and node[:end] in layers:
            return layers[node[:end]]
        end -= 1
    return None

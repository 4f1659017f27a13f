"""Choose whole layers to leave out: one after the other, always that whose loss harms least."""

from collections.abc import Callable
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.errors import PruneError
from edgecompile.prune.find_layers import find_layers
from edgecompile.prune.remove_layers import remove_layers


@dataclass(frozen=True, slots=True)
class Dropped:
    """A layer, and what the output has lost once it and those before it are gone (1 - R^2)."""

    layer: str
    loss: float


def choose_layers(
    model: ir.Model, count: int, judge: Callable[[ir.Model], float]
) -> tuple[ir.Model, list[Dropped]]:
    """Return a model without `count` layers, and which went; one layer at least stays."""
    layers = find_layers(model)
    if count >= len(layers):
        most = f"at most {len(layers) - 1} of {len(layers)} can go" if layers else "none was found"
        msg = f"[prune] layers = {count}: {most}"
        raise PruneError(msg)
    dropped: list[Dropped] = []
    for _ in range(count):
        gone = [drop.layer for drop in dropped]
        tried = [
            Dropped(layer.name, judge(remove_layers(model, layers, [*gone, layer.name])))
            for layer in layers
            if layer.name not in gone
        ]
        dropped.append(min(tried, key=lambda drop: drop.loss))
    return remove_layers(model, layers, [drop.layer for drop in dropped]), dropped

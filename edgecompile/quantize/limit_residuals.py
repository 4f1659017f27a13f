"""Cut the residual stream off where that costs nothing, so that 8 and 16 bits need not hold it all.

    r = a + b   ->   r = Clip(a + b, -T, T)

A trained transformer has massive values: one token, one channel, a hundred times the rest (Sun et
al. 2024, "Massive Activations"). They carry a bias, not a number: what matters is that they are
large. LayerNormalization squares them, so they decide all of its ranges.
"""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecompile.facts import is_residual
from edgecompile.graph import add_initializer, linears, sweep

COSTS = 5e-5
"""What the mean cosine to float may lose."""
STEP = 2**-0.5
MOST_STEPS = 12


def limit_residuals(model: ir.Model, limit: float) -> ir.Model:
    """Clip each sum that a LayerNormalization reads, and the Linears that are summed there.

    What is clipped takes the tensor's name.
    """
    model = model.clone()
    made_by = {linear.y: linear for linear in linears(model.graph)}
    sums = [node for node in model.graph if node.op_type == "Add" and is_residual(node)]
    values = {value: None for node in sums for value in node.inputs if value in made_by}
    values |= {node.outputs[0]: None for node in sums}
    low, high = (
        add_initializer(model.graph, f"saturation.{side}", np.array(sign * limit, np.float32))
        for side, sign in (("low", -1), ("high", 1))
    )
    for value in values:
        clip = ir.node("Clip", [value, low, high], name=f"{value.name}.limited")
        producer = value.producer()
        if producer is None:
            continue
        model.graph.insert_after(producer, clip)
        ir.convenience.replace_all_uses_with(value, clip.outputs[0], replace_graph_outputs=True)
        clip.replace_input_with(0, value)
        clip.outputs[0].name, value.name = value.name, f"{value.name}.unlimited"
        clip.outputs[0].shape, clip.outputs[0].type = value.shape, value.type
    return sweep(model)


def choose_limit(peak: float, loss: Callable[[float], float]) -> float:
    """Return the smallest limit of peak / sqrt(2)^n that costs nothing; 0 if even one step costs.

    `peak` is the residual stream's largest magnitude, `loss` says what a limit costs.
    """
    found, limit = 0.0, peak
    for _ in range(MOST_STEPS):
        limit *= STEP
        if loss(limit) > COSTS:
            break
        found = limit
    return found

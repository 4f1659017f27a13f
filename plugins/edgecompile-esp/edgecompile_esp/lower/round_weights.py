"""Round the weights of Linears to 8 bits, and move what that shifts on average into the biases.

    y = Gemm(x, W, b)   ->   y = Gemm(x, DequantizeLinear(W_int8, scale), b - E[x] (W_int8 - W))

esp-ppq rounds what it reads: it finds the same integers again.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import tokens_are_flat
from edgecompile.graph import Array, add_initializer, present, sweep, weight_array
from edgecompile.lower.qnn.apply_equalisation import FREE, plain
from edgecompile.lower.qnn.quantize_tensors import x_name
from edgecompile.passes import rewrite
from edgecompile.plan import Plan
from edgecompile.target import Target
from edgecompile_esp.facts import WEIGHTS_ROUNDED, columns_are_split, weights_are_rounded
from edgecompile_esp.lower.split_columns import ONE_SCALE
from edgecompile_esp.scales import round_weight

WEIGHT = ".weight_float"
"""How the name of what makes a weight float ends."""


@rewrite(needs=[tokens_are_flat, columns_are_split], gives=[weights_are_rounded])
def round_weights(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """Round all, once the ranges are known; none before."""
    model = model.clone()
    model.metadata_props[WEIGHTS_ROUNDED] = "yes"
    if not plan.tensors:
        return model
    free = model.metadata_props.get(FREE, "").splitlines()
    means = {name: (a if name in free else plain(a)).mean for name, a in plan.activations.items()}
    for node in [n for n in model.graph if n.op_type == "Gemm"]:
        x, weight, bias = (present(value) for value in node.inputs)
        w, name = weight_array(weight), str(node.name)
        q, scale = round_weight(w, by_column=ONE_SCALE not in target.chip)
        zero = np.zeros(scale.shape, np.int8)
        parts: dict[str, Array] = {"weight_int8": q, "weight_scale": scale, "weight_zero": zero}
        inputs = [add_initializer(model.graph, f"{name}.{end}", a) for end, a in parts.items()]
        axis = {"axis": 1} if scale.ndim else {}
        real = ir.node("DequantizeLinear", inputs, axis, name=f"{name}{WEIGHT}")
        real.outputs[0].name = f"{name}.weight_rounded"
        model.graph.insert_before(node, real)
        node.replace_input_with(1, real.outputs[0])
        mean = means.get(x_name(x))
        if mean is not None:
            moved = (weight_array(bias) - mean @ (q * scale - w)).astype(np.float32)
            node.replace_input_with(2, add_initializer(model.graph, f"{name}.bias_moved", moved))
    return sweep(model)

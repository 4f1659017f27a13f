"""Which Linear loses most when it becomes int8, on its own, from float inputs."""

from collections.abc import Iterable

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.graph import FloatArray, linears, weight_of
from edgecompile.plan import Activation, Plan, affine
from edgecompile.rounding import quantize_weight
from edgecompile.session import session
from edgecompile.target import Target


def layer_errors(
    model: ir.Model, plan: Plan, target: Target, feeds: Iterable[Feed]
) -> dict[str, float]:
    """Return ||int8(x) - float(x)|| / ||float(x)|| for each quantized Linear, worst first.

    `model` is the float graph in a form that onnxruntime runs.
    """
    found = [
        linear
        for linear in linears(model.graph)
        if str(linear.x.name) in plan.activations and linear.name not in plan.kept_float
    ]
    names = sorted({str(linear.x.name) for linear in found})
    run = session(model, outputs=names)
    lost: dict[str, float] = {linear.name: 0.0 for linear in found}
    whole = dict(lost)
    for feed in feeds:
        inputs = dict(zip(names, run.run(names, feed), strict=True))
        for linear in found:
            x, weight = inputs[str(linear.x.name)], weight_of(linear)
            activation = plan.activations[str(linear.x.name)]
            y = x @ weight
            lost[linear.name] += float(np.square(_int8(x, weight, activation, target) - y).sum())
            whole[linear.name] += float(np.square(y).sum())
    errors = {name: float(np.sqrt(lost[name] / max(whole[name], 1e-30))) for name in lost}
    return dict(sorted(errors.items(), key=lambda item: -item[1]))


def _int8(x: FloatArray, weight: FloatArray, activation: Activation, target: Target) -> FloatArray:
    scale, zero = affine(activation.low, activation.high)
    s = activation.smoothing
    q = np.clip(np.rint(x / s / scale) + zero, 0, 255) - zero
    wq, ws = quantize_weight(weight * s[:, None], target.weight)
    return np.asarray((q * scale) @ (wq * ws))

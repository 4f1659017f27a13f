"""Quantization-aware training: Linears round as the plan's int8 ones do, and gradients pass.

    y = x W + b   ->   fake(x / s) fake(s W) + b + E[x / s] (s W - fake(s W))

fake() is rounding to 8 bits and back; its gradient is 1 inside the range and 0 outside (the
straight-through estimator, Jacob et al. 2018, section 3.1). Activations round in the plan's range,
weights to -127..127 with one scale a column, as `rounding.quantize_weight` does.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from edgecompile.graph import Linear
from edgecompile.plan import Activation, Plan, affine, rung_of

FakeMultiply = Callable[..., Tensor]


def fake_linears(plan: Plan) -> Callable[[Linear], FakeMultiply | None]:
    """Return, for each Linear that the plan makes int8, the function that imitates it."""

    def choose(linear: Linear) -> FakeMultiply | None:
        rung = rung_of(plan, linear).rung
        return None if rung == "float" else imitate(plan.activations[str(linear.x.name)])

    return choose


def imitate(activation: Activation) -> FakeMultiply:
    """Return the int8 Linear of an activation, in float: (x, W [in, out], b) -> y."""
    scale, zero = affine(activation.low, activation.high)
    s = torch.from_numpy(activation.smoothing)
    mean = torch.from_numpy(activation.mean)

    def multiply(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
        factors, means = s.to(x.device), mean.to(x.device)
        q = torch.fake_quantize_per_tensor_affine(x / factors, scale, zero, 0, 255)
        smooth = weight * factors[:, None]
        w = round_columns(smooth)
        lost = (means @ (smooth - w)).detach()
        return torch.nn.functional.linear(q, w.T, lost if bias is None else bias + lost)

    return multiply


def round_columns(weight: Tensor) -> Tensor:
    """Round W [in, out] to 8 bits and back, one scale a column."""
    scale = weight.detach().abs().amax(0) / 127
    scale = torch.where(scale > torch.finfo(torch.float32).tiny, scale, 1.0)
    zero = torch.zeros_like(scale, dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zero, 1, -127, 127)

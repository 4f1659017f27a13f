"""The quantization plan: what becomes low-bit and with which numbers. It knows no engine.

It is plain data, decided once for all targets. An activation's range is that of the tensor after
its equalising factors: x / smoothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecompile.graph import FloatArray, Linear


@dataclass(frozen=True, slots=True)
class Activation:
    """One tensor that Linears read: range, factors and mean, by channel [C], of valid tokens.

    `dynamic` says why its range is measured anew at each inference, "" that it is not.
    `hessian` is E[x x^T] of x / smoothing, [C, C], where weights are rounded by it.
    """

    low: float
    high: float
    smoothing: "FloatArray"
    mean: "FloatArray"
    alpha: float
    dynamic: str = ""
    hessian: "FloatArray | None" = None


@dataclass(frozen=True, slots=True)
class Output:
    """What a Linear gives, where an engine must round that too: range of y / smoothing, [C]."""

    low: float
    high: float
    smoothing: "FloatArray"


@dataclass(frozen=True, slots=True)
class Plan:
    """Activations by tensor name; Linears that stay float, each with the reason.

    `outputs` are by the name of the tensor that a Linear makes; empty where no engine rounds it.

    `embeddings` is the tables' format: "int8", "int4" where only weights are rounded, "" for float.
    `tensors` are the ranges of all tensors of one engine's own float form, where that engine
    rounds every one: the engine observes them itself.

    `weights` is "int8" or "int4" where only weights are rounded, by blocks, and no range is used.

    `tensors` are the lowest and highest number of each float tensor of the written-out form
    (lower/written), where an engine rounds everything. `saturation` is where the residual stream
    is cut off in them, 0 for nowhere.
    """

    activations: Mapping[str, Activation] = field(default_factory=dict)
    kept_float: Mapping[str, str] = field(default_factory=dict)
    embeddings: str = ""
    weights: str = ""
    outputs: Mapping[str, Output] = field(default_factory=dict)
    tensors: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    saturation: float = 0.0

    @property
    def lowest(self) -> str:
        """Return the rung on which a Linear is that the ladder did not raise."""
        return f"{self.weights} weights" if self.weights else "int8"


@dataclass(frozen=True, slots=True)
class Rung:
    """One Linear's precision: "int8", "dynamic" (int8, its range found at run time) or "float".

    Where only weights are rounded, "int8 weights" or "int4 weights" is in the place of "int8".
    """

    rung: str
    why: str


def rung_of(plan: Plan, linear: "Linear") -> Rung:
    """Return the rung that a plan gives a Linear."""
    activation = plan.activations.get(str(linear.x.name))
    if linear.name in plan.kept_float or activation is None:
        return Rung("float", plan.kept_float.get(linear.name, "it is not in the plan"))
    if activation.dynamic:
        return Rung("dynamic", activation.dynamic)
    return Rung(plan.lowest, "")


FLOAT = Plan()
"""Nothing is quantized: lowering with it gives the float model in the target's form."""


def affine(low: float, high: float, bits: int = 8) -> tuple[float, int]:
    """Return scale and zero point of an unsigned range that holds 0 exactly.

    `real = scale * (q - zero)`, q in [0, 2**bits - 1] (Jacob et al. 2018, section 2.1).
    """
    low, high = min(low, 0.0), max(high, 0.0)
    top = 2**bits - 1
    scale = max((high - low) / top, 1e-12)
    return scale, int(min(max(round(-low / scale), 0), top))

"""The quantization plan: what becomes int8 and with which numbers. It knows no engine.

It is plain data, decided once for all targets. An activation's range is that of the tensor after
its equalising factors: x / smoothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from edgecompile.graph import FloatArray


@dataclass(frozen=True, slots=True)
class Activation:
    """One tensor that Linears read: range, factors and mean, by channel [C], of valid tokens."""

    low: float
    high: float
    smoothing: FloatArray
    mean: FloatArray
    alpha: float


@dataclass(frozen=True, slots=True)
class Plan:
    """Activations by tensor name; Linears that stay float, each with the reason."""

    activations: Mapping[str, Activation] = field(default_factory=dict)
    kept_float: Mapping[str, str] = field(default_factory=dict)
    embeddings: bool = False


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

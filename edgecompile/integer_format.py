"""How a tensor of an integer engine is written: the note on a value of a lowered graph.

An operator stays what it was in float; its tensors say in which integers it computes. TFLite's
files are made like this, and so are these graphs.
"""

from dataclasses import dataclass

import onnx_ir as ir

KEY = "edgecompile.integer_format"
INT8, INT16 = "int8", "int16"
STEPS = {INT8: 255, INT16: 65534}
SMALLEST = 1e-12


@dataclass(frozen=True, slots=True)
class IntegerFormat:
    """real = scale * (q - zero), q being of `dtype`."""

    dtype: str
    scale: float
    zero: int = 0


def format_for(low: float, high: float, dtype: str) -> IntegerFormat:
    """Return the format of a range: int8 is spread over it and holds 0, int16 is symmetric."""
    if dtype == INT16:
        return IntegerFormat(INT16, max(-low, high, SMALLEST) / 32767)
    low, high = min(low, 0.0), max(high, 0.0)
    scale = max(high - low, SMALLEST) / STEPS[INT8]
    return IntegerFormat(INT8, scale, round(-128 - low / scale))


def set_format(value: ir.Value, form: IntegerFormat) -> ir.Value:
    """Note a value's format; return the value."""
    value.metadata_props[KEY] = f"{form.dtype} {form.scale.hex()} {form.zero}"
    return value


def format_of(value: ir.Value) -> IntegerFormat | None:
    """Return a value's format; None where it is no integer of an integer engine."""
    note = value.metadata_props.get(KEY)
    if note is None:
        return None
    dtype, scale, zero = note.split()
    return IntegerFormat(dtype, float.fromhex(scale), int(zero))

"""What was counted, as a profile keeps it, and the gate on it."""

from collections.abc import Mapping, Sequence
from typing import Any

from edgecompile.counts.attribute_operators import Operator
from edgecompile.counts.count_artifact import Counted
from edgecompile.errors import GateError

Number = dict[str, Any]

SHOWN: Mapping[str, tuple[str, Sequence[str]]] = {
    "dot_instructions": ("instructions", ("dot", "mmla")),
    "int_mac_instructions": ("instructions", ("int_mac",)),
    "float_fma_instructions": ("instructions", ("float_fma",)),
    "load_instructions": ("instructions", ("load_simd", "load")),
    "store_instructions": ("instructions", ("store_simd", "store")),
    "loaded_bytes": ("bytes", ("load_bytes",)),
    "stored_bytes": ("bytes", ("store_bytes",)),
    "float_macs": ("multiply-accumulates", ("float_macs",)),
}
"""A profile's numbers: unit, and the plugin's counts that make it up."""
INT8_RUNGS = ("int8", "dynamic")
BY_OPERATOR = "each operator's own, between two readings of the clock by onnxruntime's profile"
IN_ALL = "counted for the artifact in all: the engine has no profile; int8_macs by shapes"


def emulated_numbers(counted: Counted, how: str, sequence: int) -> list[Number]:
    """Return a profile's numbers; `how` says what was emulated by what."""
    shared: Number = {"kind": "emulated", "how": how, "model": "artifact"}
    shared |= {"sequence": sequence, "threads": 1}
    counts = counted.counts
    found = [
        {"name": name, "value": sum(counts[key] for key in keys), "unit": unit, **shared}
        for name, (unit, keys) in SHOWN.items()
    ]
    total = {"name": "instructions", "value": counts["instructions"], "unit": "instructions"}
    spread = {"difference": counted.difference, "classes": _classes(counts)}
    macs = {"name": "int8_macs", "value": counts["int_macs"], "unit": "multiply-accumulates"}
    shapes = {"by_shapes": counted.macs} if counted.macs is not None else {}
    return [total | shared | spread, macs | shared | shapes, *found]


def operator_table(counted: Counted) -> dict[str, Any]:
    """Return what each operator executed or, where that cannot be told, must multiply."""
    told = any(operator.counts for operator in counted.operators)
    rows = [_row(operator) for operator in counted.operators]
    return {"kind": "emulated", "how": BY_OPERATOR if told else IN_ALL, "operators": rows}


def check_dot(
    board: str, features: Sequence[str], rungs: Sequence[str], counts: Mapping[str, int]
) -> None:
    """Fail an int8 artifact that executes no dot product on a board that has it.

    `rungs` are the Linears'. Raises GateError.
    """
    if "asimddp" not in features or not any(rung in INT8_RUNGS for rung in rungs):
        return
    if counts["dot"] + counts["mmla"] + counts["sve"] == 0:
        msg = (
            f"{board}: the artifact is int8 and executes no dot product, which the board has: the"
            f" runtime takes a slow kernel; build for a newer runtime or another engine"
        )
        raise GateError(msg)


def _classes(counts: Mapping[str, int]) -> dict[str, int]:
    summed = ("instructions", "int_macs", "float_macs", "load_bytes", "store_bytes")
    return {name: count for name, count in counts.items() if name not in summed and count}


def _row(operator: Operator) -> dict[str, Any]:
    row: dict[str, Any] = {"name": operator.name, "operator": operator.kind}
    if operator.counts:
        row |= {"instructions": operator.counts["instructions"]}
        row |= {"int8_macs": operator.counts["int_macs"]}
    if operator.macs is not None:
        row["int8_macs_by_shapes"] = operator.macs
    return row

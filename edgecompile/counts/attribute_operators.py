"""Which operator executed what: onnxruntime's own profile, matched with the plugin's lines.

onnxruntime reads the time of day before and after each operator and keeps both times; the plugin
keeps a line, with its counts, at each reading. A time lies between its own line's and the next.
"""

import bisect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgecompile.errors import EmulationError

Counts = Mapping[str, int]

PRODUCTS = frozenset(
    {"MatMulInteger", "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "QGemm"}
)
"""Operators of int8 products [.., K] x [K, N]; their first input says K."""
CONVOLUTIONS = {"ConvInteger": 1, "QLinearConv": 3}
"""And at which input a convolution has its weight [N, C, ...]."""
END = "_kernel_time"


@dataclass(frozen=True, slots=True)
class Operator:
    """What one executed: counts are the plugin's; `macs` are those of its shapes.

    `macs` is None for an operator that multiplies no int8, or does not tell its weight's shape.
    """

    name: str
    kind: str
    counts: Counts
    macs: int | None


def attribute_operators(
    profile: Sequence[Mapping[str, Any]], start_ns: int, lines: Sequence[Mapping[str, Any]]
) -> list[Operator]:
    """Return the operators of the last run in a profile, in the order of execution.

    `lines` are those of the watched region, its begin first; `start_ns` is the profile's time of
    day. Raises EmulationError where they do not fit.
    """
    ends = [n for n, event in enumerate(profile) if event["name"] == "model_run"]
    first = ends[-2] + 1 if len(ends) > 1 else 0
    events = [e for e in profile[first:] if str(e["name"]).endswith(END)]
    times = [int(line["ns"]) for line in lines]
    found = []
    for event in events:
        begin = bisect.bisect_right(times, start_ns + 1000 * int(event["ts"]))
        end = bisect.bisect_right(times, start_ns + 1000 * (int(event["ts"]) + int(event["dur"])))
        if not 0 < begin < end < len(lines):
            msg = f"operator {event['name']}: the plugin saw no clock read around it"
            raise EmulationError(msg)
        kind = str(event["args"]["op_name"])
        name = str(event["name"]).removesuffix(END)
        found.append(Operator(name, kind, add(lines[begin:end]), _macs(kind, event["args"])))
    return found


def add(lines: Sequence[Mapping[str, Any]]) -> dict[str, int]:
    """Return the sums of lines' counts."""
    keys = [key for key in lines[0] if key not in ("at", "ns")]
    return {key: sum(int(line[key]) for line in lines) for key in keys}


def _macs(kind: str, told: Mapping[str, Any]) -> int | None:
    """Return the multiply-accumulates that follow from an operator's shapes."""
    inputs, outputs = (list(_shapes(told[f"{side}_type_shape"])) for side in ("input", "output"))
    if kind in PRODUCTS:
        return int(np.prod(outputs[0])) * inputs[0][-1]
    weight = CONVOLUTIONS.get(kind, len(inputs))
    if weight < len(inputs):  # a weight that the kernel has packed is not listed
        return int(np.prod(outputs[0])) * int(np.prod(inputs[weight][1:]))
    return None


def _shapes(rows: Sequence[Mapping[str, Sequence[int]]]) -> Iterator[list[int]]:
    for row in rows:
        yield [int(size) for size in next(iter(row.values()))]

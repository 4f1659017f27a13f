"""What rknn-toolkit2's log says of an artifact: its operators, its memory, and what is wrong.

Its functions return 0 while the log says that an operator has no place on the NPU.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

COLOUR = re.compile(r"\x1b\[[0-9;]*m")
STAMP = re.compile(r"^.*?[A-Z] RKNN: \[[0-9:.]+\] ")
"""What C code's lines begin with: Python's may stand before it, without an end of their own."""
ROW = re.compile(
    r"^(?P<number>\d+) +(?P<kind>\S+) +(?P<format>\S+) +(?P<place>CPU|NPU|GPU)"
    r" +(?P<read>\S+) +(?P<made>\S+) +(?P<cycles>\d+/\d+/\d+) +\S+ +(?P<name>\S+)"
)
"""A line of the table "Network Layer Information Table"."""
MEMORY = re.compile(r"Total (Internal|Weight) Memory Size: ([0-9.]+)KB")
FIRST, LAST = "InputOperator", "OutputOperator"
"""Rows that are no work: where tensors come in and, at the end of the table, go out."""
NO_PLACE = "Unkown op target"
"""The vendor's spelling. It is said of operators that go to the CPU (rknn-toolkit2, issue 559)."""
BAD = (
    NO_PLACE,
    "unsupport",
    "not support",
    "fallback",
    "fall back",
    "treated as a custom operator",
)


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator of the compiled file; shapes are [read], [made] as the table has them."""

    kind: str
    format: str
    place: str
    read: str
    made: str
    name: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a log says: `faults` are lines that nothing explains, `explained` are explained."""

    operators: tuple[Operator, ...]
    faults: tuple[str, ...]
    explained: tuple[str, ...]
    internal_bytes: int
    weight_bytes: int

    @property
    def on_cpu(self) -> list[Operator]:
        """Return the operators that the NPU does not run."""
        return [operator for operator in self.operators if operator.place != "NPU"]


def read_log(text: str) -> Report:
    """Read the log of a compilation; without the end of its table, there are no operators."""
    lines = [COLOUR.sub("", line).strip() for line in re.split(r"[\r\n]+", text)]
    rows = [row for line in lines if (row := ROW.match(STAMP.sub("", line)))]
    starts = [place for place, row in enumerate(rows) if row["number"] == "0"]
    rows = rows[: starts[1]] if len(starts) > 1 else rows  # another compilation's are the same
    rows = rows if any(row["kind"] == LAST for row in rows) else []
    operators = tuple(
        Operator(r["kind"], r["format"], r["place"], r["read"], r["made"],
                 r["name"].partition(":")[2])
        for r in rows if r["kind"] not in (FIRST, LAST)
    )  # fmt: skip
    faults: list[str] = []
    explained: list[str] = []
    moved = any(operator.place != "NPU" for operator in operators)
    for line in lines:
        if is_fault(line):
            (explained if NO_PLACE in line and moved else faults).append(STAMP.sub("", line))
    sizes = {
        found[1]: round(float(found[2]) * 1024) for found in map(MEMORY.search, lines) if found
    }
    return Report(
        operators,
        tuple(faults),
        tuple(explained),
        sizes.get("Internal", 0),
        sizes.get("Weight", 0),
    )


def is_fault(line: str) -> bool:
    """Say whether a line says that something went wrong: the vendor's own "E", or such words."""
    return line.startswith("E ") or "E RKNN: [" in line or any(word in line for word in BAD)


def products(operator: Operator) -> int:
    """Return the multiply-accumulates of an operator, by its row: convolutions and attention.

    A Conv makes (1, out, 1, S) of (1, in, 1, S), a MatMul (heads, b, 1, S) of (heads, a, 1, b);
    an attention works on (heads, D, 1, S).
    """
    shapes = [
        tuple(map(int, part.split(","))) for part in re.findall(r"\(([\d,]+)\)", operator.read)
    ]
    made = [tuple(map(int, part.split(","))) for part in re.findall(r"\(([\d,]+)\)", operator.made)]
    if operator.kind.startswith("Conv") and len(shapes) > 1 and made:
        return _size(made[0]) * _size(shapes[1][1:])
    if operator.kind == "exSDPAttention" and shapes and len(shapes[0]) == 4:
        heads, width, _, length = shapes[0]
        return 2 * heads * width * length * length
    if "MatMul" in operator.kind and shapes and made:
        return _size(made[0]) * shapes[0][1]
    return 0


def _size(shape: Sequence[int]) -> int:
    found = 1
    for number in shape:
        found *= number
    return found

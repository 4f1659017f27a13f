"""Which tensors of teacher and student are compared: outputs, hidden states, attention.

They are found in the graphs. A student keeps the names of the nodes that it keeps; beyond its name
a tensor must be made in the same way and have the same width in both graphs, and those that match
must come in the same order.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import onnx_ir as ir

from edgecompile.errors import ModelError
from edgecompile.graph import Linear, dim, linears

WALKED = ("Reshape", "Transpose", "MatMul")
"""What lies between a Softmax and the Linear that ends its attention."""
DEEPEST = 6


@dataclass(frozen=True, slots=True)
class Pairs:
    """Names of the tensors that both graphs have."""

    outputs: tuple[str, ...]
    hidden: tuple[str, ...]
    attention: tuple[str, ...]


def find_pairs(teacher: ir.Model, student: ir.Model) -> Pairs:
    """Return what can be compared; fail where the two have different outputs or inputs."""
    for what in ("inputs", "outputs"):
        wanted, found = (_forms(getattr(m.graph, what)) for m in (teacher, student))
        if wanted != found:
            msg = f"the student's {what} are {found}, the teacher's {wanted}; they must be the same"
            raise ModelError(msg)
    outputs = tuple(str(v.name) for v in teacher.graph.outputs if _is_float(v))
    hidden = _common(_hidden(teacher.graph), _hidden(student.graph))
    attention = _common(_attention(teacher.graph), _attention(student.graph))
    return Pairs(outputs, tuple(n for n in hidden if n not in outputs), attention)


def _forms(values: Sequence[ir.Value]) -> dict[str, list[int | str | None]]:
    return {
        str(v.name): [size if isinstance(size, int) else "?" for size in v.shape or ()]
        for v in values
    }


def _is_float(value: ir.Value) -> bool:
    return value.dtype is None or value.dtype.is_floating_point()


def _common(teacher: Mapping[str, int], student: Mapping[str, int]) -> tuple[str, ...]:
    """Return the names of equal width that both have, if both have them in one order."""
    shared = [name for name, width in teacher.items() if student.get(name) == width]
    return tuple(shared) if shared == [name for name in student if name in shared] else ()


def _hidden(graph: ir.Graph) -> dict[str, int]:
    """Return the outputs of LayerNormalizations of the residual stream, with their width.

    The stream's width is the one that most of them have; the first is the embeddings' own.
    """
    found = {
        str(node.outputs[0].name): dim(scale, 0)
        for node in graph
        if node.op_type == "LayerNormalization"
        and (scale := node.inputs[1]) is not None
        and scale.is_initializer()
        and scale.shape is not None
        and len(scale.shape) == 1
    }
    widths = list(found.values())
    stream = max(widths, key=widths.count, default=0)
    return {name: width for name, width in found.items() if width == stream}


def _attention(graph: ir.Graph) -> dict[str, int]:
    """Return what the Linear behind each attention gives, with its width."""
    return {str(linear.y.name): dim(linear.weight, 1) for linear in linears(graph) if _ends(linear)}


def _ends(linear: Linear) -> bool:
    value: ir.Value | None = linear.x
    for _ in range(DEEPEST):
        node = value.producer() if value is not None else None
        if node is None or node.op_type in ("Attention", "Softmax"):
            return node is not None
        if node.op_type not in WALKED:
            return False
        value = node.inputs[0]
    return False

"""Cut the rows of a token table.

    y = Gather(table [V, C], input_ids)   ->   y = Gather(table[kept] [v, C], input_ids)

Ids are counted anew in their old order, so what asks for their order (ArgMax) stays as it is. What
compares them with a number (Equal, as for padding) compares with the new one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import onnx_ir as ir

from edgecompile.errors import UnsupportedError
from edgecompile.graph import Array, add_initializer, constant, dim, present, weight_tensor

IDS = "input_ids"
PASSED_ON = ("Cast", "Identity", "Reshape", "Flatten", "Squeeze", "Unsqueeze", "Slice")
"""What hands ids on as they are."""
BY_ORDER = ("Shape", "Size", "ArgMax", "ArgMin")
"""What does not change when ids are counted anew in the same order."""
ELEMENTWISE = ("Add", "Mul", "Div", "Sub", "Cast", "Identity", "Softmax", "LogSoftmax", "Tanh")
"""What may stand between a language model's head and the output; logits stay logits."""


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """Where a graph depends on token ids: tables [V, C], and nodes that compare with one id."""

    tables: tuple[ir.Value, ...]
    compared: tuple[ir.Node, ...]

    @property
    def rows(self) -> int:
        """Return the rows of the smallest table: ids are below."""
        return min(dim(table, 0) for table in self.tables)

    def named_ids(self) -> set[int]:
        """Return the ids that the graph compares with."""
        numbers = (int(n) for node in self.compared for n in _number(node)[1].ravel())
        return {n for n in numbers if 0 <= n < self.rows}


def find_vocabulary(model: ir.Model) -> Vocabulary:
    """Find what token ids are used for; refuse in one line what cannot be cut."""
    tables: dict[ir.Value, None] = {}
    compared: list[ir.Node] = []
    for node, ids in _readers(model):
        if _looks_up(node, ids):
            tables[present(node.inputs[0])] = None
        elif node.op_type == "Equal" and _constants(node):
            compared.append(node)
        elif node.op_type not in BY_ORDER:
            _refuse(f"node '{node.name}' ({node.op_type}) computes with {IDS}")
    if not tables:
        _refuse(f"the graph looks no table up with {IDS}")
    found = Vocabulary(tuple(tables), tuple(compared))
    for table in tables:
        _check_table(table)
    for output in model.graph.outputs:
        if _head_width(output) == found.rows:
            _refuse(f"output '{output.name}' has a number a token")
    return found


def _readers(model: ir.Model) -> Iterator[tuple[ir.Node, ir.Value]]:
    """Yield each node that reads token ids, and the tensor in which it does."""
    values = [value for value in model.graph.inputs if value.name == IDS]
    while values:
        value = values.pop()
        if value.is_graph_output():
            _refuse(f"output '{value.name}' holds {IDS}")
        for node in value.consumers():
            if _passes_on(node) and node.inputs[0] is value:
                values.append(node.outputs[0])
            else:
                yield node, value


def _passes_on(node: ir.Node) -> bool:
    """Say whether a node hands its first input on; a Cast to bool asks which ids are not 0."""
    to = node.attributes.get("to")
    return node.op_type in PASSED_ON and (to is None or to.as_int() != ir.DataType.BOOL)


def cut_vocabulary(model: ir.Model, kept: Sequence[int]) -> ir.Model:
    """Return the graph with the kept rows alone; id kept[i] becomes i."""
    model = model.clone()
    found = find_vocabulary(model)
    new = {number: place for place, number in enumerate(kept)}
    for table in found.tables:
        rows = np.ascontiguousarray(weight_tensor(table).numpy()[np.asarray(kept)])
        table.const_value = ir.Tensor(rows, name=table.name)
        table.shape = ir.Shape(rows.shape)
    for node in found.compared:
        value, array = _number(node)
        numbers = np.array([new.get(int(n), -1) for n in array.ravel()], array.dtype)
        number = add_initializer(model.graph, f"{node.name}.number", numbers.reshape(array.shape))
        node.replace_input_with(list(node.inputs).index(value), number)
    return model


def _looks_up(node: ir.Node, ids: ir.Value) -> bool:
    """Say whether a node reads rows of a constant table by ids."""
    axis = node.attributes.get("axis")
    if node.op_type != "Gather" or node.inputs[1] is not ids:
        return False
    by_rows = axis is None or axis.as_int() == 0
    return by_rows and node.inputs[0] is not ids and present(node.inputs[0]).is_initializer()


def _constants(node: ir.Node) -> list[tuple[ir.Value, Array]]:
    """Return a node's inputs that are constants, each with its array."""
    pairs = [(value, constant(value)) for value in node.inputs if value is not None]
    return [(value, array) for value, array in pairs if array is not None]


def _number(node: ir.Node) -> tuple[ir.Value, Array]:
    """Return the constant that a node compares with."""
    return _constants(node)[0]


def _check_table(table: ir.Value) -> None:
    """Refuse a table that is read in another way too, as where the output head is tied to it."""
    for node in table.consumers():
        if node.op_type != "Gather" or IDS not in _sources(node.inputs[1]):
            _refuse(f"node '{node.name}' ({node.op_type}) reads the table '{table.name}' too")
    if table.is_graph_output() or table.shape is None or len(table.shape) != 2:
        _refuse(f"the table '{table.name}' is not a plain one [tokens, width]")


def _sources(value: ir.Value | None) -> Iterator[str]:
    """Yield the names of a tensor and of those that it was handed on from."""
    while value is not None:
        yield str(value.name)
        node = value.producer()
        value = node.inputs[0] if node is not None and _passes_on(node) else None


def _head_width(output: ir.Value) -> int | None:
    """Return the width of the Linear that an output comes from, number by number."""
    node = output.producer()
    while node is not None and node.op_type in ELEMENTWISE:
        makers = [value.producer() for value in node.inputs if value is not None]
        node = next((maker for maker in makers if maker is not None), None)
    if node is None or node.op_type != "MatMul":
        return None
    weight = present(node.inputs[1])
    plain = weight.is_initializer() and weight.shape is not None and len(weight.shape) == 2
    return dim(weight, 1) if plain else None


def _refuse(why: str) -> NoReturn:
    msg = f"[prune] vocabulary: {why}, so that no token can be cut; leave it out of the recipe"
    raise UnsupportedError(msg)

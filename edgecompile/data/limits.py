"""How long a model's sequences and how large its ids may be, read from its tables."""

from typing import TYPE_CHECKING

from edgecompile.graph import dim, scalar, slices_rows

if TYPE_CHECKING:
    import onnx_ir as ir

IDS = ("input_ids", "token_type_ids", "position_ids")
"""Inputs that are rows of a table."""


def takes_any_length(model: "ir.Model") -> bool:
    """Say whether all inputs are rows of tokens, [B, S], whose length the model leaves open."""
    inputs = [(value.shape, value.dtype) for value in model.graph.inputs]
    return all(
        shape is not None
        and len(shape) == 2
        and not isinstance(shape[1], int)
        and (dtype is None or dtype.is_integer())
        for shape, dtype in inputs
    )


def table_rows(model: "ir.Model", name: str = "input_ids") -> int | None:
    """Return the rows of the embedding table that an input looks up; the smallest, if several."""
    rows = [
        dim(table, 0)
        for value in model.graph.inputs
        if value.name == name
        for node in value.consumers()
        if node.op_type == "Gather" and node.inputs[1] is value
        if (table := node.inputs[0]) is not None and table.is_initializer() and table.shape
    ]
    return min(rows, default=None)


def longest_sequence(model: "ir.Model", limit: int) -> int:
    """Return how many tokens a canonical graph takes, at most `limit`: its position tables end.

    A table is read by Slice (positions 0, 1, ...), by Gather with position_ids, or by Gather with
    counted positions plus an offset (RoBERTa's start behind the padding id).
    """
    limit = min(limit, table_rows(model, "position_ids") or limit)
    for node in model.graph:
        table = node.inputs[0] if node.inputs else None
        if table is None or not table.is_initializer() or table.shape is None:
            continue
        rows = table.dtype is not None and table.dtype.is_floating_point() and len(table.shape) == 2
        if rows and slices_rows(node):
            limit = min(limit, dim(table, 0))
        elif node.op_type == "Gather" and (offset := _position_offset(node)) is not None:
            limit = min(limit, dim(table, 0) - offset - 1)
    return limit


def _position_offset(gather: "ir.Node") -> int | None:
    index = gather.inputs[1].producer() if gather.inputs[1] is not None else None
    if index is None or index.op_type != "Add":
        return None
    numbers = [scalar(value) for value in index.inputs]
    return next((int(number) for number in numbers if number is not None), None)

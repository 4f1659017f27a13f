"""Store embedding tables as int8, one scale a row, or as int4 by blocks.

    y = Gather(table, ids)   ->   y = Cast(Gather(table_int8, ids)) * Gather(scale, ids)

Slice (a position table) likewise. Tables of a few rows stay float: they hold no bytes worth it.

Where the plan asks for int4, tables are rounded as weights are: by blocks of 32.

    y = Gather(table, ids)   ->   y = GatherBlockQuantized(table_int4, ids, scale, zero)

That operator cuts no Slice: a position table becomes int8.
"""

import onnx_ir as ir

from edgecompile.blockwise import BLOCK, quantize_blocks
from edgecompile.graph import (
    MICROSOFT,
    add_initializer,
    dim,
    present,
    slices_rows,
    substitute,
    sweep,
    weight_array,
)
from edgecompile.passes import rewrite
from edgecompile.plan import Plan
from edgecompile.rounding import quantize_rows

SMALLEST_ROWS = 64


@rewrite()
def quantize_embeddings(model: ir.Model, plan: Plan) -> ir.Model:
    """Float tables -> int8 tables and scales, or int4 tables, scales and zero points."""
    if not plan.embeddings:
        return model
    model = model.clone()
    stored: dict[tuple[ir.Value, bool], list[ir.Value]] = {}
    for node in [n for n in model.graph if n.op_type in ("Gather", "Slice") and not n.domain]:
        table = node.inputs[0]
        if table is not None and _is_table(node, table):
            in_int4 = plan.embeddings == "int4" and node.op_type == "Gather"
            store, quantize = (_store_int4, _look_up) if in_int4 else (_store, _quantize)
            if (table, in_int4) not in stored:
                stored[table, in_int4] = store(model.graph, table)
            quantize(model.graph, node, stored[table, in_int4])
    return sweep(model)


def _is_table(node: ir.Node, table: ir.Value) -> bool:
    axis = node.attributes.get("axis")
    if node.op_type == "Slice" and not slices_rows(node):
        return False
    return (
        table.is_initializer()
        and table.dtype == ir.DataType.FLOAT
        and table.shape is not None
        and len(table.shape) == 2
        and dim(table, 0) >= SMALLEST_ROWS
        and (axis is None or axis.as_int() == 0)
    )


def _store(graph: ir.Graph, table: ir.Value) -> list[ir.Value]:
    """Add a table's int8 rows and their scales."""
    rows, scale = quantize_rows(weight_array(table))
    named = {f"{table.name}_int8": rows, f"{table.name}_scale": scale}
    return [add_initializer(graph, name, array) for name, array in named.items()]


def _quantize(graph: ir.Graph, node: ir.Node, stored: list[ir.Value]) -> None:
    tape = ir.tape.Tape()
    rest = [present(value) for value in node.inputs[1:]]
    attributes = {name: attr.value for name, attr in node.attributes.items()}
    parts = [
        tape.op(node.op_type, [value, *rest], attributes, name=f"{node.name}.{suffix}")
        for value, suffix in zip(stored, ("int8", "scale"), strict=True)
    ]
    cast = tape.op("Cast", [parts[0]], {"to": ir.DataType.FLOAT}, name=f"{node.name}.float")
    tape.op("Mul", [cast, parts[1]], name=node.name)
    substitute(graph, [node], tape.nodes)


def _store_int4(graph: ir.Graph, table: ir.Value) -> list[ir.Value]:
    """Add a table's rows, [rows, width], and each block's scale and zero, [rows, blocks]."""
    q, scale, zero = quantize_blocks(weight_array(table).T, 4)
    rows = q.reshape(len(q), -1)[:, : dim(table, 1)]
    uint4 = ir.DataType.UINT4.numpy()
    named = {
        f"{table.name}_int4": rows.astype(uint4),
        f"{table.name}_scale": scale,
        f"{table.name}_zero": zero.astype(uint4),
    }
    return [add_initializer(graph, name, array) for name, array in named.items()]


def _look_up(graph: ir.Graph, node: ir.Node, stored: list[ir.Value]) -> None:
    table, scale, zero = stored
    inputs = [table, present(node.inputs[1]), scale, zero]
    attributes = {"block_size": BLOCK, "gather_axis": 0, "quantize_axis": 1}
    lookup = ir.node("GatherBlockQuantized", inputs, attributes, domain=MICROSOFT, name=node.name)
    graph.opset_imports[MICROSOFT] = 1
    substitute(graph, [node], [lookup])

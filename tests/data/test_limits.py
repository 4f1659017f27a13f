"""How long sequences and how large ids may be, as a graph's tables say."""

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.data.limits import longest_sequence, table_rows
from edgecompile.graph import add_initializer


def model(*names: str, rows: int = 7) -> ir.Model:
    """Return a model that looks input_ids up in a table of so many rows; other inputs idle."""
    inputs = [ir.val(n, ir.DataType.INT64, ["batch", "sequence"]) for n in names]
    graph = ir.Graph(inputs, [], nodes=[], opset_imports={"": 20}, name="model")
    table = add_initializer(graph, "table", np.zeros((rows, 2), np.float32))
    graph.append(ir.node("Gather", [table, inputs[0]]))
    return ir.Model(graph, ir_version=10)


BERT = ("input_ids", "attention_mask", "token_type_ids")


def test_table_is_found_behind_input_ids_only() -> None:
    """A model without input_ids, or whose ids look up nothing, has no known table."""
    assert table_rows(model("pixels")) is None
    bare = model("input_ids")
    bare.graph.remove(bare.graph[0], safe=True)
    assert table_rows(bare) is None


def test_positions_read_by_slice_end_with_their_table() -> None:
    """A model takes no more tokens than its table of positions has rows; the limit may be less."""
    m = model(*BERT, rows=1000)
    zero, length = (ir.val(name, ir.DataType.INT64, [1]) for name in ("zero", "length"))
    positions = add_initializer(m.graph, "positions", np.zeros((40, 2), np.float32))
    rows = add_initializer(m.graph, "rows", np.array([0]))
    m.graph.append(ir.node("Slice", [positions, zero, length, rows]))
    assert longest_sequence(m, 512) == 40
    assert longest_sequence(m, 16) == 16


@pytest.mark.parametrize("flipped", [False, True])
def test_positions_with_an_offset_end_sooner(flipped: bool) -> None:  # noqa: FBT001
    """RoBERTa counts positions from behind the padding id: so many rows are never read."""
    m = model(*BERT, rows=1000)
    offset = add_initializer(m.graph, "offset", np.array(1, np.int64))
    counted = ir.node("CumSum", [m.graph.inputs[1], add_initializer(m.graph, "axis", np.array(1))])
    operands = [counted.outputs[0], offset]
    shifted = ir.node("Add", operands[::-1] if flipped else operands)
    positions = add_initializer(m.graph, "positions", np.zeros((514, 2), np.float32))
    gather = ir.node("Gather", [positions, shifted.outputs[0]])
    m.graph.extend([counted, shifted, gather])
    assert longest_sequence(m, 10_000) == 512
    assert longest_sequence(m, 100) == 100


def test_model_without_positions_takes_any_length() -> None:
    """The table that input_ids look up says nothing about length."""
    assert longest_sequence(model(*BERT, rows=7), 512) == 512

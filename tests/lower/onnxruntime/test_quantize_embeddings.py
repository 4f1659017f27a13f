"""Embedding tables in int8, one scale a row."""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgecompile.blockwise import quantize_blocks
from edgecompile.plan import FLOAT, Plan

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[Array]]
Counts = Callable[[ir.Model], dict[str, int]]

INT8, INT4 = Plan(embeddings="int8"), Plan(embeddings="int4")
TABLE = np.random.default_rng(14).normal(size=(100, 8)).astype(np.float32)
TABLE[7] = 0
TABLE[8] *= 1000
TABLE[9] *= 1e-6
LOOKUP = "(int64[b,s] i) => (float[b,s,8] y) { y = Gather(table, i) }"
POSITIONS = "(int64[n] n) => (float[s,8] y) { y = Slice(table, zero, n, zero) }"
IDS = {"i": np.arange(100).reshape(2, 50)}


@pytest.fixture(scope="session")
def quantize(rewrite: Rewrite) -> Callable[..., ir.Model]:
    """Return a function that runs the pass."""
    return lambda model, plan=INT8: rewrite(
        "lower/onnxruntime", model, "quantize-embeddings", plan=plan
    )


def reference(table: Array) -> tuple[Array, Array]:
    """Return int8 rows and their scales: the largest magnitude of a row is 127."""
    scale = np.abs(table).max(axis=1, keepdims=True) / np.float32(127)
    scale[scale == 0] = 1
    return np.rint(table / scale).astype(np.int8), scale


def int4_rows(table: Array) -> Array:
    """Return the table that its int4 blocks stand for, by numpy."""
    q, scale, zero = quantize_blocks(table.T, 4)
    steps = q.astype(np.float32) - zero[..., None].astype(np.float32)
    return np.asarray((steps * scale[..., None]).reshape(len(table), -1)[:, : table.shape[1]])


def test_a_lookup_is_int8_rows_times_their_scales(
    graph: Parse, quantize: Rewrite, run: Run, counts: Counts
) -> None:
    """Bit for bit what numpy computes, for rows of zeros, of large and of tiny numbers."""
    after = quantize(graph(LOOKUP, table=TABLE))
    assert counts(after) == {"Cast": 1, "Gather": 2, "Mul": 1}
    rows, scale = reference(TABLE)
    np.testing.assert_array_equal(
        run(after, IDS)[0], (rows.astype(np.float32) * scale).reshape(2, 50, 8)
    )


def test_the_error_is_half_a_step_of_the_row(graph: Parse, quantize: Rewrite, run: Run) -> None:
    """No entry is further off than half of its row's scale."""
    (y,) = run(quantize(graph(LOOKUP, table=TABLE)), IDS)
    error = np.abs(y.reshape(100, 8) - TABLE).max(axis=1)
    assert (error <= np.abs(TABLE).max(axis=1) / 127 / 2 * 1.0001).all()
    assert error.max() > 0


def test_positions_are_quantized_alike(
    graph: Parse, quantize: Rewrite, run: Run, counts: Counts
) -> None:
    """A Slice of the first rows of a table."""
    after = quantize(graph(POSITIONS, table=TABLE, zero=np.array([0])))
    assert counts(after) == {"Cast": 1, "Mul": 1, "Slice": 2}
    rows, scale = reference(TABLE)
    expected = (rows.astype(np.float32) * scale)[:11]
    np.testing.assert_array_equal(run(after, {"n": np.array([11])})[0], expected)


@pytest.mark.parametrize("width", [8, 33, 64, 96, 129])
@pytest.mark.parametrize("indices", ["int64", "int32"])
def test_an_int4_lookup_is_numpys(  # noqa: PLR0917 - fixtures
    indices: str, width: int, graph: Parse, quantize: Rewrite, run: Run, random: np.random.Generator
) -> None:
    """Bit for bit, whatever the width: last blocks and last bytes that are not full."""
    table = random.normal(size=(65, width)).astype(np.float32)
    table[3], table[4] = 0, 2
    text = LOOKUP.replace("s,8", f"s,{width}").replace("int64", indices)
    after = quantize(graph(text, table=table), INT4)
    (y,) = run(after, {"i": np.arange(-5, 65, dtype=indices)[None]})
    np.testing.assert_array_equal(y[0], int4_rows(table)[np.arange(-5, 65)])


def test_an_int4_table_is_an_eighth(graph: Parse, quantize: Rewrite, counts: Counts) -> None:
    """Two numbers a byte, a scale and a zero a block; the float table is gone."""
    table = np.ones((100, 64), np.float32)
    after = quantize(graph(LOOKUP.replace("s,8", "s,64"), table=table), INT4)
    assert counts(after) == {"com.microsoft.GatherBlockQuantized": 1}
    sizes = {n: v.const_value.nbytes for n, v in after.graph.initializers.items() if v.const_value}
    assert sizes == {"table_int4": 3200, "table_scale": 800, "table_zero": 100}


def test_an_int4_position_table_is_int8(graph: Parse, quantize: Rewrite, counts: Counts) -> None:
    """No operator cuts a Slice out of an int4 table."""
    positions = graph(POSITIONS, table=TABLE, zero=np.array([0]))
    assert counts(quantize(positions, INT4)) == counts(quantize(positions))


def test_the_float_table_is_gone(graph: Parse, quantize: Rewrite) -> None:
    """A quarter of the bytes is left, and the scales."""
    after = quantize(graph(LOOKUP, table=TABLE))
    types = {name: v.dtype for name, v in after.graph.initializers.items()}
    assert types == {"table_int8": ir.DataType.INT8, "table_scale": ir.DataType.FLOAT}


@pytest.mark.parametrize(
    ("text", "rows"),
    [
        (LOOKUP, 63),
        (LOOKUP.replace("Gather(", "Gather<axis = 1>(").replace("[b,s,8]", "[n,b,s]"), 100),
    ],
    ids=["few rows", "columns"],
)
def test_other_tables_stay_float(
    graph: Parse, quantize: Rewrite, counts: Counts, text: str, rows: int
) -> None:
    """Token types hold no bytes worth it; a lookup of columns has no scale a row."""
    before = graph(text, table=TABLE[:rows].copy())
    assert counts(quantize(before)) == counts(before)


def test_a_computed_table_stays(graph: Parse, quantize: Rewrite, counts: Counts) -> None:
    """Only initializers are tables."""
    text = "(float[100,8] t, int64[b,s] i) => (float[b,s,8] y) { y = Gather(t, i) }"
    assert counts(quantize(graph(text))) == {"Gather": 1}


@pytest.mark.parametrize("axis", [1, -1])
def test_a_slice_of_columns_is_right(
    graph: Parse, quantize: Rewrite, equal: Callable[..., None], axis: int
) -> None:
    """Cutting columns out of a matrix is no lookup of rows."""
    text = "(float[m] x) => (float[100,4] c, float[m] y) { c = Slice(table, a, e, o) y = Neg(x) }"
    numbers = {"a": np.array([4]), "e": np.array([8]), "o": np.array([axis])}
    model = graph(text, table=np.tanh(TABLE), **numbers)
    equal(model, quantize(model), {"x": np.ones(3, np.float32)}, atol=0.5 / 127)


def test_without_embeddings_in_the_plan_nothing_happens(graph: Parse, quantize: Rewrite) -> None:
    """The float plan returns the very graph."""
    model = graph(LOOKUP, table=TABLE)
    assert quantize(model, FLOAT) is model


@given(
    table=arrays.arrays(
        np.float32,
        st.tuples(st.integers(64, 90), st.integers(1, 9)),
        elements=st.floats(-100, 100, width=32),
    )
)
def test_any_table_is_numpys(graph: Parse, quantize: Rewrite, run: Run, table: Array) -> None:
    """Of whatever shape, equal numbers and zeros included."""
    text = LOOKUP.replace("s,8", f"s,{table.shape[1]}")
    q, scale = reference(table)
    (y,) = run(quantize(graph(text, table=table)), {"i": np.arange(len(table))[None]})
    np.testing.assert_array_equal(y[0], q.astype(np.float32) * scale)

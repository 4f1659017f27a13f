"""Random inputs whose sizes follow the names of the axes."""

from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.probe_feeds import Sizes, random_feed, tables_of, units

Parse = Callable[..., ir.Model]
SIZES = Sizes(batch=2, sequence=7, past=3, source=6)


def named(**inputs: list[int | str | None]) -> ir.Model:
    """Return a model that only has inputs: floats of these shapes, int64 where named ids."""
    kinds = {n: ir.DataType.INT64 if "ids" in n else ir.DataType.FLOAT for n in inputs}
    values = [
        ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(kinds[name]))
        for name, shape in inputs.items()
    ]
    return ir.Model(ir.Graph(values, [], nodes=[], name="g"), ir_version=10)


@pytest.mark.parametrize(
    ("axis", "size"),
    [
        ("sequence_length", 7),
        ("decoder_sequence_length", 7),
        ("encoder_sequence_length", 6),
        ("past_sequence_length", 3),
        ("past_decoder_sequence_length", 3),
        ("past_sequence_length + sequence_length", 10),
        ("past_sequence_length+1", 4),
        ("total_sequence_length", 10),
        ("input_ids_dynamic_axes_1", 7),
        (None, 7),
        (5, 5),
    ],
)
def test_an_axis_is_as_large_as_its_name_says(axis: str | int | None, size: int) -> None:
    """Caches, sources and sums of lengths fit each other; other names mean the sequence."""
    feed = random_feed(named(ids=["batch_size", axis]), 0, SIZES)
    assert feed["ids"].shape == (2, size)


def test_the_first_axis_is_the_batch_whatever_it_is_called() -> None:
    """CLIP calls it text_batch_size for one input and image_batch_size for the other."""
    feed = random_feed(named(a=["text_batch_size", 4], b=[None, 5]), 0, SIZES)
    assert (feed["a"].shape, feed["b"].shape) == ((2, 4), (2, 5))


def test_only_waves_are_made_of_units() -> None:
    """Ids, caches and images have no unit: one step is one number."""
    model = named(
        wave=["b", "samples"], ids=["b", "s"], past=["b", 4, "past", 8], x=["b", 3, "h", "w"]
    )
    shapes = {name: a.shape for name, a in random_feed(model, 0, SIZES, unit=10).items()}
    assert shapes == {"wave": (2, 70), "ids": (2, 7), "past": (2, 4, 3, 8), "x": (2, 3, 7, 7)}
    assert len(units(model)) > 1
    assert list(units(named(ids=["b", "s"], past=["b", 4, "past", 8]))) == [1]


def test_ids_fit_the_table_that_they_reach_by_reshaping(graph: Parse) -> None:
    """T5 and BART flatten the ids before they look them up."""
    text = """(int64[b,s] input_ids) => (float[b,s,4] y) {
        flat = Reshape(input_ids, shape) cast = Cast<to = 6>(flat) y = Gather(table, cast) }"""
    numbers: dict[str, Any] = {"shape": np.array([0, -1]), "table": np.ones((50, 4), np.float32)}
    model = graph(text, **numbers)
    assert [table.name for table in tables_of(model.graph.inputs[0])] == ["table"]
    assert 2 < random_feed(model, 0, SIZES)["input_ids"].max() < 50

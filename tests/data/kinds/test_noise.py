"""Random inputs: what a graph takes, the same in every run, never without a warning."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.data.source import Source, request_of, word_of

Takes = Callable[..., ir.Model]


def noise(model: ir.Model, folder: Path, longest: int = 512) -> Source:
    """Open random data for a model."""
    kind = word_of("random")
    assert kind is not None
    return kind.open(Path("random"), [], request_of(model, folder, longest))


def test_a_text_model_gets_ids_of_its_tables(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Ids lie within their tables, masks hide nothing, lengths differ, and no two runs do."""
    from edgecompile.export.read_model import export, find_source

    model = export(find_source(checkpoint("bert")))
    source = noise(model, tmp_path, longest=40)
    feeds = list(source.feeds(0, 20))
    rows = model.graph.initializers["embeddings.word_embeddings.weight"].shape[0]
    assert all(0 <= f["input_ids"].min() <= f["input_ids"].max() < rows for f in feeds)
    assert {int(f["token_type_ids"].max()) for f in feeds} == {1}
    assert all(f["attention_mask"].all() for f in feeds)
    lengths = {f["input_ids"].shape for f in feeds}
    assert len(lengths) > 5
    assert max(lengths) <= (1, 40)
    for one, other in zip(feeds[5:], source.feeds(5, 20), strict=True):
        np.testing.assert_array_equal(one["input_ids"], other["input_ids"])


def test_floats_are_normal(takes: Takes, tmp_path: Path) -> None:
    """N(0, 1) of the graph's own shape and type."""
    model = takes(ir.DataType.FLOAT16, x=("batch", 3, 64, 64))
    (feed,) = noise(model, tmp_path).feeds(0, 1)
    assert (feed["x"].shape, feed["x"].dtype) == ((1, 3, 64, 64), np.float16)
    assert abs(float(feed["x"].mean())) < 0.1
    assert abs(float(feed["x"].std()) - 1) < 0.1


def test_sizes_that_the_graph_leaves_open_come_from_the_config(
    takes: Takes, tmp_path: Path
) -> None:
    """Images are as large as config.json says; other open sizes of one name are one size."""
    config = {"vision_config": {"image_size": 32, "num_channels": 1}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (feed,) = noise(takes(pixel_values=("b", "c", "h", "w")), tmp_path).feeds(0, 1)
    assert feed["pixel_values"].shape == (1, 1, 32, 32)
    model = takes(a=("b", "s"), b=("b", 2, "p", 4), c=("b", "p + s"))
    (feed,) = noise(model, tmp_path).feeds(0, 1)
    assert feed["c"].shape[1] == feed["a"].shape[1] + feed["b"].shape[2]


@pytest.mark.parametrize("count", [1, 1000])
def test_random_data_never_ends_and_is_never_unlabelled(
    takes: Takes, tmp_path: Path, count: int
) -> None:
    """As many samples as asked for; the warning goes with the source."""
    source = noise(takes(x=("batch", 2)), tmp_path)
    assert source.count(count) == count
    assert "RANDOM DATA" in source.warning

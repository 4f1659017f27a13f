"""Units are taken out: without those that nobody listens to, a model answers the same."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import strategies

from edgecompile.errors import PruneError
from edgecompile.export import read_model
from edgecompile.graph import weight_bytes
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.remove_units import remove_units

Array = npt.NDArray[Any]
Encoder = Callable[..., ir.Model]
Parse = Callable[..., ir.Model]
RANDOM = np.random.default_rng(5)


def weight(*shape: int) -> Array:
    """Return random float32."""
    return RANDOM.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("head", [None, "sequence", "token"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta"])
def test_an_encoder_without_deaf_units_is_the_same(
    encoder: Encoder, tokens: Any, prunes: Any, family: str, head: str | None
) -> None:
    """Half of all heads and channels: equal to zeros in the rows that read them."""
    model = encoder(family, head=head)
    prunes(model, tokens(model))


@pytest.mark.filterwarnings("ignore")
@hypothesis.settings(suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture])
@hypothesis.given(data=strategies.data())
def test_any_units_may_go(
    encoder: Encoder, tokens: Any, prunes: Any, tmp_path: Path, data: strategies.DataObject
) -> None:
    """Of any widths, any choice that keeps one."""
    heads, depth, wide = (
        data.draw(strategies.integers(*bounds)) for bounds in ((2, 5), (1, 6), (2, 40))
    )
    name = f"model{len(list(tmp_path.iterdir()))}"
    model = encoder(
        name=name, hidden_size=heads * depth, num_attention_heads=heads, intermediate_size=wide
    )
    choose = strategies.lists(strategies.integers(0, 39), min_size=1, unique=True)
    keep = {
        group.name: sorted({unit % group.units for unit in data.draw(choose)})
        for group in find_groups(model).found
    }
    prunes(model, tokens(model), keep)


def test_the_rest_of_the_graph_is_as_before(encoder: Encoder) -> None:
    """Names of nodes and tensors stay; weights have their new widths, the scale is the old one."""
    model = encoder()
    groups = find_groups(model).found
    narrow = remove_units(model, groups, {g.name: range(g.units - 1) for g in groups})
    assert [node.name for node in narrow.graph] == [node.name for node in model.graph]
    assert set(narrow.graph.initializers) == set(model.graph.initializers)
    shapes = {name: list(v.shape or ()) for name, v in narrow.graph.initializers.items()}
    assert shapes["encoder.layer.1.attention.self.key.weight"] == [32, 24]
    assert shapes["encoder.layer.1.attention.output.dense.weight"] == [24, 32]
    assert shapes["encoder.layer.1.intermediate.dense.bias"] == [63]
    (before, after) = (
        next(n for n in m.graph if n.op_type == "Attention") for m in (model, narrow)
    )
    assert after.attributes["q_num_heads"].as_int() == 3
    assert after.attributes["scale"].as_float() == before.attributes["scale"].as_float()


def test_groups_that_are_not_named_stay_whole(encoder: Encoder, tokens: Any, equal: Any) -> None:
    """An empty choice changes nothing."""
    model = encoder()
    equal(model, remove_units(model, find_groups(model).found, {}), tokens(model))


@pytest.mark.parametrize(
    ("keep", "why"),
    [
        ([], "at least 1 of its 64 channels must stay"),
        ([3, 2], "units must be ascending numbers from 0 to 63"),
        ([2, 2], "units must be ascending numbers from 0 to 63"),
        ([64], "units must be ascending numbers from 0 to 63"),
        ([-1], "units must be ascending numbers from 0 to 63"),
    ],
)
def test_a_choice_that_is_none_is_an_error(encoder: Encoder, keep: list[int], why: str) -> None:
    """A group must keep units that it has."""
    model = encoder()
    with pytest.raises(PruneError, match=why):
        remove_units(model, find_groups(model).found, {"encoder.layer.0.intermediate.dense": keep})


def test_an_unknown_group_is_an_error(encoder: Encoder) -> None:
    """It is named."""
    model = encoder()
    with pytest.raises(PruneError, match="no group named 'nowhere'"):
        remove_units(model, find_groups(model).found, {"nowhere": [0]})


TWICE = """(float[b,s,4] x) => (float[b,s,4] y) {
    h = MatMul(x, w1) hb = Add(h, bias) r = Relu(hb) m = MatMul(r, w2)
    g = MatMul(m, w3) gb = Add(g, bias) t = Tanh(gb) n = MatMul(t, w4)
    y = Add(n, other)
}"""


def test_a_vector_that_layers_share_by_chance_is_copied(graph: Parse, prunes: Any) -> None:
    """Equal biases were merged into one: each layer cuts its own."""
    arrays = {"bias": weight(6), "other": weight(4)}
    arrays |= {"w1": weight(4, 6), "w2": weight(6, 4), "w3": weight(4, 6), "w4": weight(6, 4)}
    model = graph(TWICE, **arrays)
    groups = find_groups(model).found
    assert [group.name for group in groups] == ["bias", "w2", "g"]  # none is there twice
    feed = {"x": weight(2, 3, 4)}
    prunes(model, feed, {"bias": [0, 2], "g": [1, 3, 5], "w2": [0, 3]})
    narrow = prunes(model, feed, {"bias": range(6), "g": [1], "w2": [0, 3]})
    assert sorted(len(v.const_value.numpy()) for n, v in narrow.graph.initializers.items()
                  if n.startswith("bias")) == [1, 6]  # fmt: skip


def test_a_matrix_that_layers_share_is_cut_for_both(graph: Parse, prunes: Any) -> None:
    """Tied weights stay tied: one group for both layers."""
    body = TWICE.replace("w3", "w1").replace("w4", "w2")
    arrays = {"bias": weight(6), "other": weight(4), "w1": weight(4, 6), "w2": weight(6, 4)}
    model = graph(body, **arrays)
    (group,) = find_groups(model).found
    narrow = prunes(model, {"x": weight(2, 3, 4)}, {group.name: [0, 5]})
    assert len(narrow.graph.initializers) == len(model.graph.initializers)


DEPTHWISE = """(float[b,s,4] x) => (float[b,s,4] y) {
    h = MatMul(x, w1) t = Transpose <perm = [0,2,1]> (h)
    c = Conv <group = 6, kernel_shape = [3], pads = [1,1]> (t, filters, bias)
    u = Transpose <perm = [0,2,1]> (c) y = MatMul(u, w2)
}"""


def test_a_depthwise_convolution_loses_its_filters(graph: Parse, prunes: Any) -> None:
    """Channels pass through it, as in Segformer's FFN."""
    arrays = {"w1": weight(4, 6), "w2": weight(6, 4), "filters": weight(6, 1, 3), "bias": weight(6)}
    narrow = prunes(graph(DEPTHWISE, **arrays), {"x": weight(2, 5, 4)})
    (conv,) = (node for node in narrow.graph if node.op_type == "Conv")
    assert conv.attributes["group"].as_int() == 3


@pytest.mark.slow
def test_minilm_gets_smaller(minilm: Path, tokens: Any, prunes: Any) -> None:
    """Half of its heads and channels go; large weights are sliced as they are read."""
    model = read_model.export(read_model.find_source(minilm))
    narrow = prunes(model, tokens(model))
    sizes = [weight_bytes(m.graph.initializers.values()) for m in (model, narrow)]
    assert sizes[1] < 0.8 * sizes[0]
    weights = narrow.graph.initializers["encoder.layer.0.output.dense.weight"]
    assert isinstance(weights.const_value, ir.LazyTensor)

"""Whole layers are found from the graph and left out."""

import itertools
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.errors import PruneError
from edgecompile.prune.find_layers import find_layers
from edgecompile.prune.remove_layers import remove_layers

Encoder = Callable[..., ir.Model]


@pytest.mark.parametrize("head", [None, "sequence"])
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_every_layer_is_found(encoder: Encoder, family: str, head: str | None) -> None:
    """Each has the six Linears of its attention and FFN, and reads what the one before gives."""
    layers = find_layers(encoder(family, head=head, num_hidden_layers=3, n_layers=3))
    assert len(layers) == 3
    assert [len(layer.linears) for layer in layers] == [6, 6, 6]
    assert [layer.name.rpartition(".")[2] for layer in layers] == ["0", "1", "2"]
    assert all(a.gives == b.reads for a, b in itertools.pairwise(layers))


@pytest.mark.parametrize("drop", [[0], [1], [2], [0, 1], [0, 2], [1, 2]])
def test_a_model_without_layers_is_one_that_never_had_them(
    encoder: Encoder, tokens: Any, equal: Any, drop: list[int]
) -> None:
    """It answers as a model does whose checkpoint holds the other layers alone."""
    model = encoder(num_hidden_layers=3, name="three")
    names = [layer.name for layer in find_layers(model)]
    narrow = remove_layers(model, find_layers(model), [names[number] for number in drop])
    kept = [number for number in range(3) if number not in drop]
    wanted = encoder(num_hidden_layers=len(kept), name="fewer")
    for name, value in wanted.graph.initializers.items():
        parts = name.split(".")
        if name.startswith("encoder.layer."):
            parts[2] = str(kept[int(parts[2])])
        value.const_value = model.graph.initializers[".".join(parts)].const_value
    equal(wanted, narrow, tokens(model))
    assert len(narrow.graph.initializers) == len(wanted.graph.initializers)


def test_a_removed_layer_takes_its_weights_along(encoder: Encoder) -> None:
    """Nothing of it is left, and the model that was given is untouched."""
    model = encoder()
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    narrow = remove_layers(model, find_layers(model), ["encoder.layer.1"])
    assert not [name for name in narrow.graph.initializers if "layer.1" in name]
    assert [v.name for v in narrow.graph.outputs] == [v.name for v in model.graph.outputs]
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


def test_one_layer_must_stay(encoder: Encoder) -> None:
    """And those to drop must be layers."""
    model = encoder()
    layers = find_layers(model)
    with pytest.raises(PruneError, match="all 2 layers would be removed: one at least must stay"):
        remove_layers(model, layers, [layer.name for layer in layers])
    with pytest.raises(PruneError, match=r"no layer named 'encoder.layer.7' .*known: encoder"):
        remove_layers(model, layers, ["encoder.layer.7"])


def test_a_graph_without_attention_has_no_layers(graph: Any) -> None:
    """Two Linears are none."""
    body = "(float[b,s,4] x) => (float[b,s,4] y) { h = MatMul(x, w) y = MatMul(h, w) }"
    assert find_layers(graph(body, w=np.ones((4, 4), np.float32))) == []

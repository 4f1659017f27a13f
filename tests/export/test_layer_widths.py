"""Widths that differ from layer to layer, as config.json says them: read, and checked."""

from pathlib import Path
from typing import Any

import pytest

from edgecompile.errors import ModelError
from edgecompile.export.architectures.bert import KEYS
from edgecompile.export.checkpoint import Config
from edgecompile.export.layer_widths import LayerWidths, layer_widths

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
FFN = "encoder.layer.1.intermediate.dense"


def widths(layer: int, **more: Any) -> LayerWidths:
    """Return a layer's widths for these keys."""
    return layer_widths(Config(Path("config.json"), SIZES | more), KEYS, layer)


def test_without_more_all_layers_are_alike() -> None:
    """The keys of transformers hold for each layer."""
    assert widths(0) == widths(1) == LayerWidths(4, 8, 64)


def test_heads_that_a_layer_lacks_leave_the_others_as_wide() -> None:
    """Transformers' own key; a head named twice is gone once."""
    assert widths(1, pruned_heads={"1": [0, 3, 3]}) == LayerWidths(2, 8, 64)
    assert widths(0, pruned_heads={"1": [0, 3, 3]}) == LayerWidths(4, 8, 64)
    assert widths(1, pruned_heads={"1": [2]}).attention == 24


def test_a_layer_has_its_own_channels() -> None:
    """Our key names Linears; the others are as wide as config.json says."""
    own = {"channels": {FFN: 40}}
    assert [widths(n, edgecompile=own).channels for n in (0, 1)] == [64, 40]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"num_attention_heads": 5}, "5 heads do not divide a width of 32"),
        ({"pruned_heads": [1]}, "key 'pruned_heads' must be an object, found [1]"),
        ({"pruned_heads": {"2": []}}, "names layer '2'; the layers are 0 to 1"),
        ({"pruned_heads": {"01": []}}, "names layer '01'; the layers are 0 to 1"),
        ({"pruned_heads": {"9" * 5000: []}}, "the layers are 0 to 1"),
        ({"pruned_heads": {"\u0661": []}}, "the layers are 0 to 1"),
        ({"pruned_heads": {"1": 1}}, "layer 1: must be a list of heads from 0 to 3, found 1"),
        ({"pruned_heads": {"1": [4]}}, "layer 1: must be a list of heads from 0 to 3, found [4]"),
        ({"pruned_heads": {"1": [True]}}, "must be a list of heads from 0 to 3, found [True]"),
        ({"pruned_heads": {"1": [[0]]}}, "must be a list of heads from 0 to 3, found [[0]]"),
        ({"pruned_heads": {"1": [0, 1, 2, 3]}}, "layer 1: leaves none of its 4 heads"),
        ({"edgecompile": 7}, "key 'edgecompile' must be an object, found 7"),
        ({"edgecompile": {"channels": []}}, "'edgecompile.channels' must be an object, found []"),
        ({"edgecompile": {"channels": {FFN: 0}}}, f"'{FFN}': must be a positive integer, found 0"),
        ({"edgecompile": {"channels": {FFN: 1e9}}}, "must be a positive integer, found 1000000000"),
        ({"edgecompile": {"channels": {FFN: 1 << 40}}}, "must be a positive integer, found 109"),
    ],
)
def test_what_no_model_has_is_one_line(more: dict[str, Any], message: str) -> None:
    """It names the file, the key, and what was found there."""
    with pytest.raises(ModelError) as raised:
        widths(1, **more)
    line = str(raised.value)
    assert line.startswith("config.json: ")
    assert message in line
    assert len(line) < 200

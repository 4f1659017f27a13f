"""How wide each layer of a checkpoint is: pruned ones differ from layer to layer.

config.json says so by keys that transformers has, and by one of ours where it has none:

    num_attention_heads, intermediate_size     of every layer (each family has its own names)
    pruned_heads {"0": [3, 7]}                 heads that a layer lacks: transformers' own
    edgecompile {"channels": {"encoder.layer.0.intermediate.dense": 1152, ...}}
                                               what Linears write, where layers differ
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgecompile.errors import ModelError
from edgecompile.export.checkpoint import Config

PRUNED, OURS, CHANNELS = "pruned_heads", "edgecompile", "channels"


@dataclass(frozen=True, slots=True)
class Keys:
    """What a family calls its sizes in config.json, and its parts in the weights.

    `layer` is a layer's name, "{}" its number; `attention` that of its Attention node and `ffn`
    that of the Linear that writes the FFN's channels, both after the layer's name. `pooler` is the
    Linear that a classifier of sequences reads.
    """

    hidden: str
    layers: str
    heads: str
    channels: str
    layer: str
    attention: str
    ffn: str
    pooler: str


@dataclass(frozen=True, slots=True)
class LayerWidths:
    """One layer's heads, the width of a head, and its FFN's channels."""

    heads: int
    head_size: int
    channels: int

    @property
    def attention(self) -> int:
        """Return the width of query, key and value."""
        return self.heads * self.head_size


def layer_widths(config: Config, keys: Keys, layer: int) -> LayerWidths:
    """Return the widths of one layer, checked; raises ModelError."""
    hidden, heads = config.integer(keys.hidden), config.integer(keys.heads)
    if hidden % heads:
        msg = f"{config.path}: {heads} heads do not divide a width of {hidden}"
        raise ModelError(msg)
    gone = _pruned_heads(config, keys, layer)
    linear = f"{keys.layer.format(layer)}.{keys.ffn}"
    channels = channels_of(config, linear, config.integer(keys.channels))
    return LayerWidths(heads - gone, hidden // heads, channels)


def _pruned_heads(config: Config, keys: Keys, layer: int) -> int:
    """Count the heads that a layer lacks."""
    table = _object(config, PRUNED)
    layers, heads = config.integer(keys.layers), config.integer(keys.heads)
    for name in table:
        if not (name.isdecimal() and name == str(int(name[:9])) and int(name) < layers):
            msg = (
                f"{config.path}: key '{PRUNED}' names layer '{name[:20]}'; the layers are 0 to"
                f" {layers - 1}"
            )
            raise ModelError(msg)
    gone = table.get(str(layer), [])
    if not isinstance(gone, list) or not all(_is_in(head, 0, heads) for head in gone):
        msg = (
            f"{config.path}: key '{PRUNED}', layer {layer}: must be a list of heads from 0 to"
            f" {heads - 1}, found {str(gone)[:60]}"
        )
        raise ModelError(msg)
    if len(set(gone)) == heads:
        msg = f"{config.path}: key '{PRUNED}', layer {layer}: leaves none of its {heads} heads"
        raise ModelError(msg)
    return len(set(gone))


def channels_of(config: Config, linear: str, usual: int) -> int:
    """Return how many channels a Linear writes: its own number, or the `usual` one."""
    table = _object(config, OURS).get(CHANNELS, {})
    if not isinstance(table, dict):
        msg = f"{config.path}: key '{OURS}.{CHANNELS}' must be an object, found {str(table)[:60]}"
        raise ModelError(msg)
    size = table.get(linear, usual)
    if not _is_in(size, 1, 1 << 31):
        msg = (
            f"{config.path}: key '{OURS}.{CHANNELS}', '{linear}': must be a positive integer,"
            f" found {str(size)[:60]}"
        )
        raise ModelError(msg)
    return int(size)


def _object(config: Config, key: str) -> Mapping[str, Any]:
    value = config.values.get(key)
    if not isinstance(value, dict | None):
        msg = f"{config.path}: key '{key}' must be an object, found {str(value)[:60]}"
        raise ModelError(msg)
    return value or {}


def _is_in(value: object, low: int, end: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value < end

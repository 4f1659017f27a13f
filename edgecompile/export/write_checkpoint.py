"""A narrower graph of a natively exported model -> config.json and model.safetensors: the way back.

The native exporter names initializers after the checkpoint's tensors, and turns the weights of
Linears: [out, in] -> [in, out]. Here they are turned back. What the graph does not read, such as a
pooler, is copied. Layers that are left are numbered anew.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.attention import heads_of
from edgecompile.errors import ModelError
from edgecompile.export import native
from edgecompile.export.checkpoint import Config, Weights
from edgecompile.export.layer_widths import CHANNELS, OURS, PRUNED, Keys
from edgecompile.files import write_json
from edgecompile.graph import Array, dim, linears, weight_array

WEIGHTS, CONFIG = "model.safetensors", "config.json"
WORDS = "embeddings.word_embeddings.weight"
TYPES = ("torch_dtype", "dtype")
"""What transformers calls the number format of the weights, before 4.56 and since."""


def write_checkpoint(model: ir.Model, folder: Path, config: Config, output: Path) -> bool:
    """Write the weights of `model`, exported from `folder`; say whether transformers loads them.

    It does if all layers have as many FFN channels, and a pooler all of its own. Raises ModelError
    for a graph that lacks what the family's graphs have.
    """
    from safetensors.numpy import save_file

    keys: Keys = native.family_of(config).KEYS
    layers = _layers(model, config, keys)
    weights = native.open_named(folder, config)
    tensors = _tensors(model, weights, keys, layers)
    tensors |= _unread(weights, keys, tensors)
    values = dict(config.values) | dict.fromkeys(_named_type(config), "float32")
    values |= _sizes(model, config, keys, layers)
    save_file(tensors, output / WEIGHTS, metadata={"format": "pt"})
    (output / WEIGHTS).chmod(0o644)  # the library makes it its owner's alone
    for key in (PRUNED, OURS):
        values = values if values[key] else {k: v for k, v in values.items() if k != key}
    write_json(output / CONFIG, values)
    return OURS not in values


def _named_type(config: Config) -> Sequence[str]:
    return [key for key in TYPES if key in config.values] or TYPES[:1]


def _layers(model: ir.Model, config: Config, keys: Keys) -> list[int]:
    """Return the numbers of the layers that are left."""
    names = {str(node.name) for node in model.graph if node.op_type == "Attention"}
    every = range(config.integer(keys.layers))
    left = [n for n in every if f"{keys.layer.format(n)}.{keys.attention}" in names]
    needed = {f"{keys.layer.format(n)}.{keys.ffn}.weight" for n in left} | {WORDS}
    if not len(left) == len(names) > 0 or needed - model.graph.initializers.keys():
        msg = (
            f"{config.path}: the graph's layers have other names than this family's, so that it"
            " cannot be written as one; a student must come from the native exporter"
        )
        raise ModelError(msg)
    return left


def _tensors(
    model: ir.Model, weights: Weights, keys: Keys, layers: Sequence[int]
) -> dict[str, Array]:
    """Return the graph's weights as the checkpoint has them, by the names in its files."""
    turned = {str(linear.weight.name) for linear in linears(model.graph)}
    tensors: dict[str, Array] = {}
    for name, value in model.graph.initializers.items():
        full = weights.full_name(str(name))
        if full not in weights.files:
            continue  # a constant of the graph
        array = weight_array(value)
        array = array.T if name in turned else array
        if array.ndim < (whole := weights.read(full)).ndim:  # RoBERTa reads one row of its types
            array = np.concatenate([array[None], whole[1:].astype(np.float32)])
        full = _renumbered(full, keys, layers)
        tensors[full] = np.ascontiguousarray(array, dtype=np.float32)
    return tensors


def _renumbered(name: str, keys: Keys, layers: Sequence[int]) -> str:
    before, after = (re.escape(part) for part in keys.layer.split("{}"))
    found = re.match(rf"(.*\b{before})(\d+)({after}\..*)", name)
    if found is None:
        return name
    return f"{found[1]}{layers.index(int(found[2]))}{found[3]}"


def _unread(weights: Weights, keys: Keys, written: Mapping[str, Array]) -> dict[str, Array]:
    """Return the tensors that the graph does not read, but for layers and rows that are gone."""
    table = weights.full_name(WORDS)
    before, cut = len(weights.read(table)), len(written[table]) < len(weights.read(table))
    found: dict[str, Array] = {}
    for full in sorted(weights.files.keys() - written.keys()):
        array = weights.read(full)
        a_row_a_token = cut and array.shape[:1] == (before,)
        if not a_row_a_token and keys.layer.split("{}")[0] not in full:
            floats = array.dtype.kind in "fV" or array.dtype.name == "bfloat16"
            found[full] = array.astype(np.float32) if floats else array
    return found


def _sizes(model: ir.Model, config: Config, keys: Keys, layers: Sequence[int]) -> dict[str, Any]:
    """Return the keys of config.json that say how wide the graph is."""
    heads, weights = config.integer(keys.heads), model.graph.initializers
    nodes = {str(node.name): node for node in model.graph}
    gone: dict[str, list[int]] = {}
    ffn: dict[str, int] = {}
    for new, layer in enumerate(layers):
        old = keys.layer.format(layer)
        left = heads_of(nodes[f"{old}.{keys.attention}"])
        if left < heads:  # as many as are gone: which ones they were is nowhere asked
            gone[str(new)] = list(range(left, heads))
        width = dim(weights[f"{old}.{keys.ffn}.weight"], 1)
        ffn[f"{keys.layer.format(new)}.{keys.ffn}"] = width
    same = len(set(ffn.values())) == 1
    own = {} if same else ffn
    pooler = weights.get(f"{keys.pooler}.weight")
    if pooler is not None and dim(pooler, 1) != config.integer(keys.hidden):
        own = own | {keys.pooler: dim(pooler, 1)}
    return {
        keys.layers: len(layers),
        keys.channels: next(iter(ffn.values())) if same else config.integer(keys.channels),
        PRUNED: gone,
        OURS: {CHANNELS: own} if own else {},
        "vocab_size": dim(weights[WORDS], 0),
    }

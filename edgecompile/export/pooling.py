"""sentence-transformers' modules.json: how token states become one embedding."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.blocks import Builder
from edgecompile.export.checkpoint import read_json


@dataclass(frozen=True, slots=True)
class Pooling:
    """`mode` is "mean" or "cls"; `normalise` scales the embedding to length 1."""

    mode: str
    normalise: bool


def read(folder: Path) -> Pooling | None:
    """Read modules.json; None when the directory is not a sentence-transformers model."""
    path = folder / "modules.json"
    if not path.is_file():
        return None
    modules = read_json(path)
    try:
        kinds = [str(m["type"]).rpartition(".")[2] for m in modules]
        folders = [str(m["path"]) for m in modules]
    except (TypeError, KeyError) as error:
        msg = f"{path}: not a sentence-transformers list of modules"
        raise ModelError(msg) from error
    if kinds[:2] != ["Transformer", "Pooling"] or kinds[2:] not in ([], ["Normalize"]):
        msg = f"{path}: modules {kinds} are not known; known: Transformer, Pooling, Normalize"
        raise UnsupportedError(msg)
    return Pooling(_mode(folder, folders[1]), normalise=len(kinds) == 3)


def _mode(folder: Path, name: str) -> str:
    path = folder / name / "config.json"
    if not path.resolve().is_relative_to(folder.resolve()) or not path.is_file():
        msg = f"{path}: the pooling module's config.json is missing; copy the whole directory"
        raise ModelError(msg)
    values = read_json(path)
    chosen = [key for key, on in values.items() if key.startswith("pooling_mode_") and on is True]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(chosen) != 1 or chosen[0] not in known:
        msg = f"{path}: pooling {chosen} is not known; known: {', '.join(known)}"
        raise UnsupportedError(msg)
    return known[chosen[0]]


def append(b: Builder, hidden: ir.Value, pooling: Pooling) -> ir.Value:
    """[B, S, H] -> [B, H], as sentence-transformers computes it."""
    pooled = b.first_token(hidden) if pooling.mode == "cls" else _mean(b, hidden)
    if not pooling.normalise:
        return pooled
    length = b.op("normalise.length", "ReduceL2", pooled, b.integers(-1), keepdims=1)
    floor = b.initializer("normalise.floor", np.array(1e-12, np.float32))
    return b.op("normalise", "Div", pooled, b.op("normalise.safe", "Max", length, floor))


def _mean(b: Builder, hidden: ir.Value) -> ir.Value:
    (mask,) = (v for v in b.graph.inputs if v.name == "attention_mask")
    valid = b.op("pool.float", "Cast", mask, to=ir.DataType.FLOAT)
    valid = b.op("pool.mask", "Unsqueeze", valid, b.integers(-1))
    total = b.op(
        "pool.total", "ReduceSum", b.op("pool.valid", "Mul", hidden, valid), b.integers(1),
        keepdims=0,
    )
    count = b.op("pool.count", "ReduceSum", valid, b.integers(1), keepdims=0)
    floor = b.initializer("pool.floor", np.array(1e-9, np.float32))
    return b.op("pool.mean", "Div", total, b.op("pool.safe", "Max", count, floor))

"""sentence-transformers' modules.json: how token states become one embedding."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir

from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.blocks import close_graph
from edgecompile.export.checkpoint import read_json
from edgecompile.graph import add_initializer, add_int64, dim


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
    # By the name, not by where links lead: the Hub's cache links every file to another folder.
    inside = not Path(name).is_absolute() and ".." not in Path(name).parts
    if not inside or not path.is_file():
        msg = f"{path}: the pooling module's config.json is missing; copy the whole directory"
        raise ModelError(msg)
    values = read_json(path)
    if not isinstance(values, dict):
        msg = f"{path}: not a JSON object"
        raise ModelError(msg)
    chosen = [key for key, on in values.items() if key.startswith("pooling_mode_") and on is True]
    known = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls"}
    if len(chosen) != 1 or chosen[0] not in known:
        msg = f"{path}: pooling {chosen} is not known; known: {', '.join(known)}"
        raise UnsupportedError(msg)
    return known[chosen[0]]


def append(graph: ir.Graph, hidden: ir.Value, pooling: Pooling) -> None:
    """Let a graph return one embedding [B, H] instead of `hidden` [B, S, H].

    As sentence-transformers computes it; the mean leaves padding out by attention_mask.
    """
    tape = ir.tape.Tape()
    if pooling.mode == "cls":
        zero = add_initializer(graph, "pool.first", np.array(0, np.int64))
        y = tape.op("Gather", [hidden, zero], {"axis": 1}, name="pool.cls")
    else:
        y = _mean(graph, tape, hidden)
    if pooling.normalise:
        length = tape.op(
            "ReduceL2", [y, add_int64(graph, -1)], {"keepdims": 1}, name="normalise.length"
        )
        floor = add_initializer(graph, "normalise.floor", np.array(1e-12, np.float32))
        length = tape.op("Clip", [length, floor], name="normalise.safe")
        y = tape.op("Div", [y, length], name="normalise")
    for node in tape.nodes:
        node.outputs[0].name = node.name
    graph.extend(tape.nodes)
    close_graph(graph, y, "sentence_embedding", "batch", dim(graph.outputs[0], -1))


def _mean(graph: ir.Graph, tape: ir.tape.Tape, hidden: ir.Value) -> ir.Value:
    (mask,) = (value for value in graph.inputs if value.name == "attention_mask")
    valid = tape.op("Cast", [mask], {"to": ir.DataType.FLOAT}, name="pool.float")
    valid = tape.op("Unsqueeze", [valid, add_int64(graph, -1)], name="pool.mask")
    tokens = add_int64(graph, 1)
    total = tape.op("Mul", [hidden, valid], name="pool.valid")
    total = tape.op("ReduceSum", [total, tokens], {"keepdims": 0}, name="pool.total")
    count = tape.op("ReduceSum", [valid, tokens], {"keepdims": 0}, name="pool.count")
    floor = add_initializer(graph, "pool.floor", np.array(1e-9, np.float32))
    count = tape.op("Clip", [count, floor], name="pool.safe")
    return tape.op("Div", [total, count], name="pool.mean")

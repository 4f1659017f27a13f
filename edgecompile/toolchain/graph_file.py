"""A lowered graph as files that a toolchain's Python reads with json and numpy alone.

GRAPH   {"inputs": [value], "outputs": [value], "nodes": [node]}
        value: {"name", "type", "shape"}, node: {"name", "op", "inputs", "outputs": [value],
        "attributes"}; "" is an input that is left out, null a type, shape or size that is not known
ARRAYS  an .npz of the initializers, by name
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.errors import UnsupportedError, WorkerError
from edgecompile.graph import weight_array

GRAPH, ARRAYS = "graph.json", "arrays.npz"


def write_graph(model: ir.Model, folder: Path) -> None:
    """Write both files; UnsupportedError names a node with a subgraph."""
    graph = model.graph
    table = {
        "inputs": [_value(value) for value in graph.inputs],
        "outputs": [_value(value) for value in graph.outputs],
        "nodes": [_node(node) for node in graph],
    }
    (folder / GRAPH).write_text(json.dumps(table), encoding="utf-8")
    arrays = {str(name): weight_array(value) for name, value in graph.initializers.items()}
    np.savez(folder / ARRAYS, **arrays)  # type: ignore[arg-type]


@contextmanager
def refusals_named(engine: str, no_form: str) -> Iterator[None]:
    """Let a worker's "node ... has no form" be an UnsupportedError; other errors stay."""
    try:
        yield
    except WorkerError as error:
        if no_form not in str(error):
            raise
        what = str(error).partition("NotImplementedError: ")[2].partition(no_form)[0]
        msg = f"{engine}: {what}{no_form}; choose another target for this model"
        raise UnsupportedError(msg) from error


def _value(value: ir.Value) -> dict[str, Any]:
    shape = None
    if value.shape is not None:
        shape = [size if isinstance(size, int) else None for size in value.shape]
    kind = value.dtype.name if value.dtype is not None else None
    return {"name": value.name, "type": kind, "shape": shape}


def _node(node: ir.Node) -> dict[str, Any]:
    return {
        "name": node.name,
        "op": f"{node.domain}.{node.op_type}" if node.domain else node.op_type,
        "inputs": ["" if value is None else value.name for value in node.inputs],
        "outputs": [_value(value) for value in node.outputs],
        "attributes": {name: _attribute(node, a) for name, a in node.attributes.items()},
    }


def _attribute(node: ir.Node, attribute: ir.Attr) -> Any:
    value = attribute.value
    if isinstance(value, (int, float, str)):
        return value
    if isinstance(value, (list, tuple)) and all(isinstance(v, (int, float, str)) for v in value):
        return list(value)
    msg = f"node '{node.name}' ({node.op_type}): its '{attribute.name}' has no form there"
    raise UnsupportedError(msg)

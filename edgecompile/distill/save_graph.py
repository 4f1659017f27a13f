"""A graph -> an .onnx file, whole or not at all; weights beside it where protobuf ends."""

from pathlib import Path

import onnx_ir as ir

from edgecompile.distill.checkpoints import flush
from edgecompile.graph import weight_bytes

PROTOBUF_BYTES = 1_800_000_000
"""A message holds 2 GiB; names and nodes need some of it."""


def save_graph(model: ir.Model, path: Path) -> list[Path]:
    """Write a graph; return the files that it is."""
    data = path.with_name(f"{path.name}.data")
    scratch = path.with_name(f".{path.name}")
    if weight_bytes(model.graph.initializers.values()) > PROTOBUF_BYTES:
        ir.save(model, scratch, external_data=data.name)
        flush(data)
        names = [path, data]
    else:
        ir.save(model, scratch)
        names = [path]
    flush(scratch)
    scratch.replace(path)
    flush(path.parent)
    return names

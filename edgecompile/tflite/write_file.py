"""A lowered graph -> one .tflite file: a graph for each text length, which share their weights."""

import json
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from edgecompile.errors import UnsupportedError
from edgecompile.facts import LENGTHS
from edgecompile.tflite.flatbuffer import File
from edgecompile.tflite.write_graph import open_axis, write_graph

ARTIFACT = "model.tflite"
LARGEST_BYTES = 2_000_000_000
"""Offsets in a flatbuffer have 31 bits."""


def write_file(
    model: ir.Model,
    folder: Path,
    metadata: Mapping[str, str],
    largest_bytes: int = LARGEST_BYTES,
    newest: Mapping[str, int] | None = None,
) -> list[str]:
    """Write the artifact; return the names of its files.

    `newest` are the operators that the runtime has, each with the newest version that it knows.
    """
    axis = open_axis(model)
    stated = model.metadata_props.get(LENGTHS, "")
    lengths = [int(number) for number in stated.split(",") if number] if axis else [0]
    if not lengths:
        msg = f"axis '{axis}' is open: TFLite's shapes are fixed; say [shapes] buckets = [128]"
        raise UnsupportedError(msg)
    file = File(largest_bytes, newest)
    for length in lengths:
        write_graph(file, model, length)
    file.add_metadata("edgecompile", json.dumps(dict(metadata), sort_keys=True))
    (folder / ARTIFACT).write_bytes(file.data(f"edgecompile: {model.graph.name}"))
    return [ARTIFACT]

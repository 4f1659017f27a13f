"""A lowered graph -> one .tflite file: a graph for each text length, which share their weights."""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx_ir as ir

from edgecompile.attachments import LABELS, VOCABULARY
from edgecompile.facts import LENGTHS
from edgecompile.tflite import interpret
from edgecompile.tflite.flatbuffer import File
from edgecompile.tflite.metadata import (
    ENTRY,
    Attached,
    append_files,
    label_file,
    vocabulary_file,
    write_metadata,
)
from edgecompile.tflite.write_graph import sizes_of, write_graph

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
    """Write the artifact and the program that runs it; return the names of both.

    `newest` are the operators that the runtime has, each with the newest version that it knows.
    """
    stated = model.metadata_props.get(LENGTHS, "")
    lengths = [int(number) for number in stated.split(",") if number]
    file = File(largest_bytes, newest)
    for sizes in sizes_of(model, lengths):
        write_graph(file, model, sizes)
    file.add_metadata("edgecompile", json.dumps(dict(metadata), sort_keys=True).encode())
    vocabulary, labels = _vocabulary(model), _labels(model)
    ends = [[str(v.name) for v in end] for end in (model.graph.inputs, model.graph.outputs)]
    title = str(model.graph.name)
    file.add_metadata(ENTRY, write_metadata(title, ends[0], ends[1], vocabulary, labels))
    (folder / ARTIFACT).write_bytes(file.data(f"edgecompile: {title}"))
    if files := {file.name: file for file in (vocabulary, *labels.values()) if file is not None}:
        append_files(folder / ARTIFACT, files.values())
    program = Path(interpret.__file__)
    shutil.copyfile(program, folder / program.name)
    return [ARTIFACT, program.name]


def _vocabulary(model: ir.Model) -> Attached | None:
    words = model.metadata_props.get(VOCABULARY)
    reads = any(value.name == "input_ids" for value in model.graph.inputs)
    return vocabulary_file(json.loads(words)) if words and reads else None


def _labels(model: ir.Model) -> dict[str, Attached]:
    """Return the label file of each output that has a number for each label."""
    labels = json.loads(model.metadata_props.get(LABELS, "[]"))
    return {
        str(value.name): label_file(labels)
        for value in model.graph.outputs
        if labels and value.shape is not None and value.shape[-1] == len(labels)
    }

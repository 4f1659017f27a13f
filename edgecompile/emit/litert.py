"""Engine litert: lowered graph -> one .tflite file, and how to run it.

TFLite's shapes are fixed. So the file holds a graph for each of a few text lengths, which share
their weights, with a signature each (`tokens_16`, `tokens_128`); a text is padded to the next one
and masked. Batch 1. Ids and masks are int32.
"""

import importlib
import json
import os
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import DataError, MissingRuntimeError, UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

ARTIFACT = "model.tflite"
PACKAGE = "ai-edge-litert"
"""What pip installs."""
RUNGS = ("dynamic",)
"""What this engine has between int8 and float."""
WEIGHTS: dict[str, tuple[int, int]] = {}
"""Schemes of rounded weights: none."""
LOOKUPS: dict[str, tuple[int, int]] = {}
"""Embedding tables below int8: none."""
WITHOUT_VNNI: dict[str, str] = {}
"""What makes the runtime do without VNNI: nothing does, so it is emulated."""
ROUNDS_OUTPUTS = True
"""An int8 FULLY_CONNECTED rounds what it gives: the plan must know its range."""
FIXED_SHAPES = True
"""The artifact is written for a few text lengths."""
HOW = "the artifact executed by LiteRT on this host's CPU (XNNPACK), texts padded to its lengths"
MASK = "attention_mask"
ONE_FILE_BYTES = 2_000_000_000
"""Offsets in a flatbuffer have 31 bits."""


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = ONE_FILE_BYTES,
) -> list[str]:
    """Write the artifact; return the names of its files. More than `one_file_bytes` is an error."""
    from edgecompile.facts import LENGTHS
    from edgecompile.tflite.flatbuffer import File
    from edgecompile.tflite.write_graph import open_axis, write_graph

    axis = open_axis(model)
    stated = model.metadata_props.get(LENGTHS, "")
    lengths = [int(number) for number in stated.split(",") if number] if axis else [0]
    if not lengths:
        msg = f"axis '{axis}' is open: TFLite's shapes are fixed; say [shapes] buckets = [128]"
        raise UnsupportedError(msg)
    file = File(one_file_bytes)
    for length in lengths:
        write_graph(file, model, length)
    file.add_metadata("edgecompile", json.dumps(dict(metadata), sort_keys=True))
    (folder / ARTIFACT).write_bytes(file.data(f"edgecompile: {model.graph.name}"))
    return [ARTIFACT]


def runner(
    artifact: Path, threads: int = 0, *, one_pool: bool = False
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs an artifact; `one_pool` makes no difference: no thread spins."""
    del one_pool
    count = threads or os.cpu_count()
    with _silent():
        opened = _litert().Interpreter(model_path=str(artifact), num_threads=count)
        opened.allocate_tensors()  # now it makes the delegate
        calls = {key: opened.get_signature_runner(key) for key in opened.get_signature_list()}
    names = [str(detail["name"]) for detail in opened.get_output_details()]
    inputs = {key: call.get_input_details() for key, call in calls.items()}
    outputs = {key: call.get_output_details() for key, call in calls.items()}
    lengths = {length_of(details): key for key, details in inputs.items()}

    def run(feed: "Feed") -> "list[FloatArray]":
        key, length = _choose(feed, lengths, inputs)
        answers = calls[key](**{n: _pad(n, feed[n], d) for n, d in inputs[key].items()})
        return [_cut(answers[name], outputs[key][name], length) for name in names]

    return run


def time_nodes(artifact: Path, feed: "Feed", runs: int) -> list[tuple[str, str, float]]:
    """Say that LiteRT does not tell: its profiler is in no Python package."""
    del artifact, feed, runs
    msg = "LiteRT's Python package has no profiler; its benchmark_model has, on the board"
    raise UnsupportedError(msg)


@contextmanager
def _silent() -> "Iterator[None]":
    """Keep LiteRT from writing to standard error that it made a delegate; errors are raised."""
    kept = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def length_of(details: Mapping[str, Mapping[str, Any]]) -> int:
    """Return the text length that a signature takes; 0 where its inputs leave no axis open."""
    for detail in details.values():
        for size, wanted in zip(detail["shape"], detail["shape_signature"], strict=True):
            if wanted == -1:
                return int(size)
    return 0


def _choose(
    feed: "Feed", lengths: Mapping[int, str], inputs: Mapping[str, Mapping[str, Any]]
) -> tuple[str, int]:
    """Return the signature of the shortest length that holds a feed, and the feed's own length."""
    if list(lengths) == [0]:
        return lengths[0], 0
    details = next(iter(inputs.values()))
    given = max(
        size
        for name, detail in details.items()
        for size, wanted in zip(feed[name].shape, detail["shape_signature"], strict=True)
        if wanted == -1
    )
    room = [length for length in sorted(lengths) if length >= given]
    if not room:
        msg = f"a text of {given} tokens: the artifact's longest length is {max(lengths)}"
        raise DataError(msg)
    if room[0] != given and MASK not in feed:
        msg = (
            f"a text of {given} tokens cannot be padded to {room[0]}: the model has no"
            f" {MASK}; say [shapes] buckets = [{given}]"
        )
        raise DataError(msg)
    return lengths[room[0]], given


def _pad(name: str, array: "FloatArray", detail: Mapping[str, Any]) -> "FloatArray":
    """Return an input in the shape and type of the artifact, zeros behind."""
    if array.shape[:1] != tuple(detail["shape"][:1]):
        msg = f"input '{name}' holds {array.shape[0]} samples: the artifact takes one at a time"
        raise DataError(msg)
    ends = [(0, int(size) - n) for size, n in zip(detail["shape"], array.shape, strict=True)]
    return np.pad(array, ends).astype(detail["dtype"])


def _cut(array: "FloatArray", detail: Mapping[str, Any], length: int) -> "FloatArray":
    """Return an output without what padding gave."""
    kept = [slice(length if wanted == -1 else None) for wanted in detail["shape_signature"]]
    return array[tuple(kept)].copy()


def runtime_version() -> str:
    """Return the version of the runtime that runs here."""
    _litert()
    return str(importlib.import_module("ai_edge_litert").__version__)


def _litert() -> Any:
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise MissingRuntimeError("litert") from error  # noqa: EM101 - a name, no message

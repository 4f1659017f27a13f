"""Engine litert: lowered graph -> one .tflite file, and how to run it.

TFLite's shapes are fixed. So the file holds a graph for each of a few text lengths, which share
their weights, with a signature each (`tokens_16`, `tokens_128`); a text is padded to the next one
and masked. Batch 1. Ids and masks are int32.
"""

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.errors import DataError, MissingRuntimeError

if TYPE_CHECKING:
    from collections.abc import Callable

    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

ARTIFACT = "model.tflite"
PACKAGE = "ai-edge-litert"
"""What pip installs."""
ISAS = ("x86_64", "aarch64")
"""Machines that its wheels are for."""
RUNGS = ("dynamic",)
"""What this engine has between int8 and float."""
ROUNDS_OUTPUTS = True
"""An int8 FULLY_CONNECTED rounds what it gives: the plan must know its range."""
FIXED_SHAPES = True
"""The artifact is written for a few text lengths."""
HOW = "the artifact executed by LiteRT on this host's CPU (XNNPACK), texts padded to its lengths"
ONE_FILE_BYTES = 2_000_000_000
"""Offsets in a flatbuffer have 31 bits."""


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = ONE_FILE_BYTES,
) -> list[str]:
    """Write the artifact; return the names of its files. More than `one_file_bytes` is an error."""
    from edgecompile.tflite.write_file import write_file

    return write_file(model, folder, metadata, one_file_bytes)


def runner(
    artifact: Path, threads: int = 0, *, one_pool: bool = False
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs an artifact; `one_pool` makes no difference: no pool is shared.

    0 threads are LiteRT's default, one: two that wait for each other spin on a busy machine.
    """
    from edgecompile.tflite.interpret import FeedError, open_artifact

    del one_pool
    opened = open_artifact(module(), artifact, threads or 1)

    def run(feed: "Feed") -> "list[FloatArray]":
        try:
            return list(opened(feed).values())
        except FeedError as error:
            raise DataError(str(error)) from error

    return run


def runtime_version() -> str:
    """Return the version of the runtime that runs here."""
    module()
    return str(importlib.import_module("ai_edge_litert").__version__)


def module() -> Any:
    """Return the interpreter's module, or say how to get it."""
    try:
        return importlib.import_module("ai_edge_litert.interpreter")
    except ImportError as error:
        raise MissingRuntimeError("litert") from error  # noqa: EM101 - a name, no message

"""Engine onnxruntime: lowered graph -> one .onnx file, and how to run it."""

from collections.abc import Callable, Mapping
from pathlib import Path

import onnx_ir as ir

from edgecompile.data.feed import Feed
from edgecompile.graph import FloatArray, weight_bytes
from edgecompile.session import session_options

ARTIFACT = "model.onnx"
ONE_FILE_BYTES = 1_900_000_000
"""A protobuf holds less than 2 GB: larger weights go into a file beside it."""
HOW = "the artifact executed by onnxruntime on this host, at default session options"


def write(
    model: ir.Model,
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = ONE_FILE_BYTES,
) -> list[str]:
    """Write the artifact; return the names of its files, the one to load first.

    Weights of more than `one_file_bytes` are streamed to a second file: no copy is made of them.
    """
    model = model.clone()
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    if weight_bytes(model.graph.initializers.values()) < one_file_bytes:
        ir.save(model, folder / ARTIFACT)
        return [ARTIFACT]
    ir.save(model, folder / ARTIFACT, external_data=f"{ARTIFACT}.data")
    return [ARTIFACT, f"{ARTIFACT}.data"]


def runner(artifact: Path, threads: int = 0) -> Callable[[Feed], list[FloatArray]]:
    """Return a function that runs an artifact as its user would: default session options."""
    import onnxruntime as ort

    options = session_options(threads=threads)
    opened = ort.InferenceSession(artifact, options, ["CPUExecutionProvider"])
    return lambda feed: opened.run(None, dict(feed))


def runtime_version() -> str:
    """Return the version of the runtime that runs here."""
    import onnxruntime as ort

    return str(ort.__version__)

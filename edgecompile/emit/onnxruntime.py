"""Engine onnxruntime: lowered graph -> one .onnx file, and how to run it."""

import json
import statistics
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.scratch import scratch_folder
from edgecompile.session import session_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

ARTIFACT = "model.onnx"
PACKAGE = "onnxruntime"
"""What pip installs."""
ISAS = ("x86_64", "aarch64")
"""Machines that its wheels are for."""
RUNGS = ("dynamic",)
"""What this engine has between int8 and float."""
WEIGHTS = {"int4-weights": (1, 17), "int8-weights": (1, 23)}
"""The schemes of rounded weights that this engine has, and the oldest runtime that runs each.

1.21.1 refuses 8 bits, 1.22.0 has them for some CPUs alone: elsewhere each inference fails (tried).
"""
LOOKUPS = {"int4": (1, 20)}
"""The embedding tables below int8 that this engine has, and the oldest runtime that has each.

1.19.2 lacks GatherBlockQuantized; in 1.20.0 and 1.32.0 it is numpy's bit for bit (tried).
"""
ONE_FILE_BYTES = 1_900_000_000
"""A protobuf holds less than 2 GB: larger weights go into a file beside it."""
NODE = "_kernel_time"
"""What the profiler appends to the name of a node."""
HOW = "the artifact executed by onnxruntime on this host, at default session options"


def write(
    model: "ir.Model",
    folder: Path,
    metadata: Mapping[str, str],
    one_file_bytes: int = ONE_FILE_BYTES,
) -> list[str]:
    """Write the artifact; return the names of its files, the one to load first.

    Weights of more than `one_file_bytes` are streamed to a second file: no copy is made of them.
    """
    import onnx_ir as ir

    from edgecompile.graph import weight_bytes

    model = model.clone()
    model.metadata_props.clear()
    model.metadata_props.update(metadata)
    if weight_bytes(model.graph.initializers.values()) < one_file_bytes:
        ir.save(model, folder / ARTIFACT)
        return [ARTIFACT]
    ir.save(model, folder / ARTIFACT, external_data=f"{ARTIFACT}.data")
    return [ARTIFACT, f"{ARTIFACT}.data"]


def runner(
    artifact: Path, threads: int = 0, *, one_pool: bool = False
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs an artifact as its user would: default session options.

    Models that are timed in turn share `one_pool` of threads: each model's own would spin on, and
    steal the CPU of the next.
    """
    import onnxruntime as ort

    options = session_options(threads=threads)
    if one_pool:
        _make_pool(threads)
        options.use_per_session_threads = False
    opened = ort.InferenceSession(artifact, options, ["CPUExecutionProvider"])
    return lambda feed: opened.run(None, dict(feed))


def time_nodes(artifact: Path, feed: "Feed", runs: int) -> list[tuple[str, str, float]]:
    """Return each node's name, operator and median milliseconds: onnxruntime's own profiler.

    1 thread; the first run warms up.
    """
    import onnxruntime as ort

    with scratch_folder() as folder:
        options = session_options(threads=1)
        options.enable_profiling = True
        options.profile_file_prefix = str(folder / "nodes")
        opened = ort.InferenceSession(artifact, options, ["CPUExecutionProvider"])
        for _ in range(1 + runs):
            opened.run(None, dict(feed))
        events = json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8"))
    times: dict[tuple[str, str], list[float]] = {}
    for event in events:
        if event.get("cat") == "Node" and event["name"].endswith(NODE):
            key = (event["name"].removesuffix(NODE), event["args"]["op_name"])
            times.setdefault(key, []).append(event["dur"] / 1e3)
    return [(*key, median_sum(row, 1 + runs)) for key, row in times.items()]


def median_sum(times: "Sequence[float]", runs: int) -> float:
    """Return the median over runs, without the first, of what nodes of one name take together.

    A runtime's optimiser leaves some of its nodes without a name: `times` has several a run.
    """
    each = max(len(times) // runs, 1)
    return statistics.median(times[each:] or times) * each


@cache
def _make_pool(threads: int) -> None:
    """Make the process's pool, once: onnxruntime takes its size before the first session only."""
    import onnxruntime as ort

    ort.set_global_thread_pool_sizes(threads, 1)


def runtime_version() -> str:
    """Return the version of the runtime that runs here."""
    import onnxruntime as ort

    return str(ort.__version__)

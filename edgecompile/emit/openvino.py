"""Engine openvino: lowered graph -> one .onnx file that OpenVINO reads itself, how to run it."""

import importlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.emit.onnxruntime import ARTIFACT, median_sum, write
from edgecompile.errors import MissingRuntimeError

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

__all__ = ["ARTIFACT", "write"]

PACKAGE = "openvino"
"""What pip installs."""
ISAS = ("x86_64", "aarch64")
"""Machines that its wheels are for."""
# No scheme of rounded weights, though it reads MatMulNBits: its 2026.4.1 takes 4.5 times as long
# as onnxruntime for MiniLM and one token with int8 weights (8.8 ms, 2.0 ms: AVX2, 1 thread).
HOW = "the artifact executed by OpenVINO on this host's CPU, inference precision f32"
WITHOUT_VNNI = {"ONEDNN_MAX_CPU_ISA": "AVX2"}
"""The environment in which it runs the int8 kernels of a CPU without VNNI. Under qemu-x86_64 7.2,
kernels of the same names give other numbers (its MatMul with a tanh: cosine 0.79 for MiniLM)."""
PRECISE: dict[str, Any] = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY"}
"""What is not int8 is computed in float32: by default, CPUs that can would take bfloat16."""
TELEMETRY = "openvino_telemetry"
"""Importing OpenVINO reports it to its maker through this module; without it, it does not."""


def runner(
    artifact: Path, threads: int = 0, *, one_pool: bool = False
) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs an artifact on the CPU; `one_pool` holds in any case."""
    del one_pool  # all of a process's models share OpenVINO's threads
    settings = dict(PRECISE)
    if threads:
        settings["INFERENCE_NUM_THREADS"] = threads
    compiled = _openvino().Core().compile_model(str(artifact), "CPU", settings)
    request = compiled.create_infer_request()

    def run(feed: "Feed") -> "list[FloatArray]":
        answers = request.infer(dict(feed))
        return [np.array(answers[output]) for output in compiled.outputs]

    return run


def time_nodes(artifact: Path, feed: "Feed", runs: int) -> list[tuple[str, str, float]]:
    """Return each node's name, operator and median milliseconds: OpenVINO's own profiler.

    1 thread; the first run warms up. Nodes that the compiler removed are left out.
    """
    settings = {**PRECISE, "INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
    compiled = _openvino().Core().compile_model(str(artifact), "CPU", settings)
    request = compiled.create_infer_request()
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(1 + runs):
        request.infer(dict(feed))
        for node in request.get_profiling_info():
            if str(node.status).endswith("EXECUTED"):
                key = (str(node.node_name), str(node.node_type))
                times.setdefault(key, []).append(node.real_time.total_seconds() * 1e3)
    return [(*key, median_sum(row, 1 + runs)) for key, row in times.items()]


def runtime_version() -> str:
    """Return the version of the runtime that runs here."""
    return str(_openvino().__version__).partition("-")[0]


def _openvino() -> Any:
    """Import OpenVINO without its telemetry."""
    kept = sys.modules.get(TELEMETRY)
    sys.modules[TELEMETRY] = None  # type: ignore[assignment]  # importing it fails, as it may
    try:
        return importlib.import_module("openvino")
    except ImportError as error:
        raise MissingRuntimeError("openvino") from error  # noqa: EM101 - a name, no message
    finally:
        del sys.modules[TELEMETRY]
        if kept is not None:
            sys.modules[TELEMETRY] = kept

"""Time the float model, onnxruntime's dynamic int8 and the artifact on this host."""

import tempfile
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.data.feed import Feed
from edgecompile.profile.host import Host, read_host, why_not
from edgecompile.profile.measure_latency import Request, measure_latency, resize
from edgecompile.profile.measure_memory import measure_memory
from edgecompile.profile.quantize_dynamic import quantize_dynamic
from edgecompile.target import Target

Number = dict[str, Any]
"""name, value, unit, kind ("measured" or, with a null value, null), how, and what it is of."""

LATENCY_HOW = "in turn with the other models in one process, which share a thread pool; batch 1"
MEMORY_HOW = "peak resident set of a fresh Python process that loads the model and runs it once"


def profile_host(
    target: Target, models: Mapping[str, Path], feed: Feed, sequences: Sequence[int], repeats: int
) -> dict[str, Any]:
    """Profile the "float" model and the "artifact" on a feed.

    Each number has its unit, its kind and how it was got. A target that this host cannot run gets
    sizes, and nulls with the reason.
    """
    host = read_host()
    reason = why_not(host, target)
    if reason is not None:
        return _profile(target, None, [*_sizes(models), *_unknown(reason)])
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        peer, file = Path(folder) / "dynamic.onnx", Path(folder) / "feed.npz"
        np.savez(file, **resize(feed, max(sequences)))  # type: ignore[arg-type]
        failure = quantize_dynamic(models["float"], peer)
        if failure is None:
            models = {**models, "dynamic_int8": peer}
        paths = {name: str(path) for name, path in models.items()}
        numbers = _sizes(models) + _memory(models, file, max(sequences))
        for threads in sorted({1, host.threads}):
            numbers += _latencies(Request(paths, str(file), sequences, threads, repeats))
    profile = _profile(target, host, numbers)
    return profile | ({"dynamic_int8_failed": failure} if failure else {})


def _sizes(models: Mapping[str, Path]) -> list[Number]:
    return [
        {
            "name": "size",
            "value": sum(p.stat().st_size for p in path.parent.glob(f"{path.name}*")),
            "unit": "bytes",
            "kind": "measured",
            "how": "size of the model's files",
            "model": name,
        }
        for name, path in models.items()
    ]


def _unknown(reason: str) -> list[Number]:
    names = {"latency_p50": "ms", "latency_p90": "ms", "peak_memory": "bytes"}
    return [
        {"name": n, "value": None, "unit": u, "kind": None, "how": reason, "model": "artifact"}
        for n, u in names.items()
    ]


def _latencies(request: Request) -> list[Number]:
    return [
        {
            "name": name,
            "value": value,
            "unit": "ms",
            "kind": "measured",
            "how": LATENCY_HOW,
            "model": latency.model,
            "sequence": latency.sequence,
            "threads": latency.threads,
            "repeats": latency.repeats,
        }
        for latency in measure_latency(request)
        for name, value in (("latency_p50", latency.p50_ms), ("latency_p90", latency.p90_ms))
    ]


def _memory(models: Mapping[str, Path], feed: Path, sequence: int) -> list[Number]:
    return [
        {
            "name": "peak_memory",
            "value": measure_memory(path, feed),
            "unit": "bytes",
            "kind": "measured",
            "how": MEMORY_HOW,
            "model": name,
            "sequence": sequence,
        }
        for name, path in models.items()
    ]


def _profile(target: Target, host: Host | None, numbers: list[Number]) -> dict[str, Any]:
    where = None
    if host is not None:
        where = {
            "cpu": host.cpu,
            "isa": host.isa,
            "features": sorted(host.features & {*target.cpu_features, "vnni", "asimddp"}),
            "runtime": f"onnxruntime {metadata.version('onnxruntime')}",
            "threads": host.threads,
            "governor": host.governor,
        }
    return {"schema": 1, "target": target.name, "host": where, "numbers": numbers}

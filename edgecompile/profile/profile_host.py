"""Time the float model, onnxruntime's dynamic int8 and the artifact on this host."""

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.engines import REFERENCE, engine
from edgecompile.host import Host, read_host, why_not
from edgecompile.profile.choose_feeds import Timed
from edgecompile.profile.measure_latency import Case, Request, measure_latency
from edgecompile.profile.measure_memory import measure_memory
from edgecompile.profile.quantize_dynamic import model_bytes, quantize_dynamic
from edgecompile.target import Target

Number = dict[str, Any]
"""name, value, unit, kind ("measured" or, with a null value, null), how, and what it is of."""

LATENCY_HOW = "in turn with the other models in one process, which share a thread pool; batch 1"
MEMORY_HOW = "peak resident set of a fresh Python process that loads the model and runs it once"


def profile_host(
    target: Target, models: Mapping[str, Path], feeds: Sequence[Timed], repeats: int
) -> dict[str, Any]:
    """Profile the "float" model and the "artifact" on feeds.

    Each number has its unit, its kind and how it was got. A target that this host cannot run gets
    sizes, and nulls with the reason.
    """
    host = read_host()
    reason = why_not(host, target)
    if reason is not None:
        return _profile(target, None, [*_sizes(models), *_unknown(reason)])
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        peer = Path(folder) / "dynamic.onnx"
        cases = [_save(timed, Path(folder) / f"{n}.npz") for n, timed in enumerate(feeds)]
        failure = quantize_dynamic(models["float"], peer)
        if failure is None:
            models = {**models, "dynamic_int8": peer}
        paths = {name: str(path) for name, path in models.items()}
        engines = {"artifact": target.engine}
        largest = max(cases, key=lambda c: c.sequence)
        numbers = _sizes(models) + _memory(models, engines, largest)
        for threads in sorted({1, host.threads}):
            numbers += _latencies(Request(paths, cases, threads, repeats, engines))
    profile = _profile(target, host, numbers)
    return profile | ({"dynamic_int8_failed": failure} if failure else {})


def _save(timed: Timed, file: Path) -> Case:
    np.savez(file, **timed.feed)  # type: ignore[arg-type]
    return Case(timed.sequence, str(file), timed.phase)


def _sizes(models: Mapping[str, Path]) -> list[Number]:
    return [
        {
            "name": "size",
            "value": model_bytes(path),
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
            **({"phase": latency.phase} if latency.phase else {}),
            "threads": latency.threads,
            "repeats": latency.repeats,
        }
        for latency in measure_latency(request)
        for name, value in (("latency_p50", latency.p50_ms), ("latency_p90", latency.p90_ms))
    ]


def _memory(models: Mapping[str, Path], engines: Mapping[str, str], case: Case) -> list[Number]:
    return [
        {
            "name": "peak_memory",
            "value": measure_memory(path, Path(case.feed), engines.get(name, REFERENCE)),
            "unit": "bytes",
            "kind": "measured",
            "how": MEMORY_HOW,
            "model": name,
            "sequence": case.sequence,
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
            "runtime": ", ".join(
                f"{name} {engine(name).runtime_version()}"
                for name in dict.fromkeys((REFERENCE, target.engine))
            ),
            "threads": host.threads,
            "governor": host.governor,
        }
    return {"schema": 1, "target": target.name, "host": where, "numbers": numbers}

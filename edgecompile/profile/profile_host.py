"""Time the float model, onnxruntime's dynamic int8 and the artifact on this host."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.engines import REFERENCE, engine, inspect
from edgecompile.host import Host, read_host, why_not
from edgecompile.profile import measure_operators as operators
from edgecompile.profile.choose_feeds import Timed
from edgecompile.profile.count_rows import count_rows
from edgecompile.profile.latency_rows import latency_rows, noise_warning
from edgecompile.profile.measure_latency import Case, Request, measure_latency
from edgecompile.profile.measure_memory import measure_memory
from edgecompile.profile.quantize_dynamic import quantize_dynamic
from edgecompile.profile.read_profile import SCHEMA
from edgecompile.profile.source_layers import layers_of
from edgecompile.profile.weigh_layers import weigh_layers
from edgecompile.scratch import scratch_folder
from edgecompile.target import Target

Number = dict[str, Any]
"""A row of profile.json's "numbers": docs/profile.md says what is in it."""

MEMORY_HOW = "peak resident set of a fresh Python process that loads the model and runs it once"
FORMAT_HOW = "the constants in the artifact's file, by their type"
SECONDS = 0.3
"""How long a case is repeated at least: short texts then have narrow intervals at little cost."""


@dataclass(frozen=True, slots=True)
class Graphs:
    """The canonical float graphs of the dense model, which is "float", and of what is left."""

    dense: ir.Model
    model: ir.Model


def profile_host(
    target: Target,
    models: Mapping[str, Sequence[Path]],
    graphs: Graphs,
    feeds: Sequence[Timed],
    repeats: int,
) -> dict[str, Any]:
    """Profile the "float" model and the "artifact", of each all files, the one to load first.

    Each number has its unit, its kind and how it was got. A target that this host cannot run gets
    sizes and counts, and nulls with the reason.
    """
    host = read_host()
    loaded = {name: files[0] for name, files in models.items()}
    found = inspect(target, loaded["artifact"])
    fixed = _formats(found) + count_rows(graphs.dense, graphs.model, feeds)
    layers = layers_of(graphs.dense) | layers_of(graphs.model)
    weights = {"weights": weigh_layers(found, layers)}
    reason = why_not(host, target)
    if reason is not None:
        numbers = [*_sizes(models), *fixed, *_unknown(reason)]
        return _profile(target, None, numbers) | weights
    with scratch_folder() as folder:
        peer = folder / "dynamic.onnx"
        cases = [_save(timed, folder / f"{n}.npz") for n, timed in enumerate(feeds)]
        engines = {"artifact": target.engine}
        largest = max(cases, key=lambda c: c.sequence)
        with ThreadPoolExecutor(1) as aside:  # nothing is timed yet
            memory = aside.submit(_memory, loaded, engines, largest)
            failure = quantize_dynamic(loaded["float"], peer)
            rows = memory.result()
        if failure is None:
            rows += _memory({"dynamic_int8": peer}, engines, largest)
            models = {**models, "dynamic_int8": [peer]}
        paths = {name: str(files[0]) for name, files in models.items()}
        numbers = _sizes(models) + fixed + rows
        timed = [
            latency
            for threads in sorted({1, host.threads})
            for latency in measure_latency(
                Request(paths, cases, threads, repeats, engines, SECONDS)
            )
        ]
        asked = {name: paths[name] for name in ("float", "artifact")}
        by_operator = operators.measure_operators(
            operators.Request(asked, engines, largest.feed), layers, largest.sequence
        )
    rows = latency_rows(timed)
    warning = noise_warning(rows)
    profile = _profile(target, host, numbers + rows) | weights | {"operator_times": by_operator}
    profile |= {"warnings": [warning]} if warning else {}
    return profile | ({"dynamic_int8_failed": failure} if failure else {})


def _save(timed: Timed, file: Path) -> Case:
    np.savez(file, **timed.feed)  # type: ignore[arg-type]
    return Case(timed.sequence, str(file), timed.phase)


def _sizes(models: Mapping[str, Sequence[Path]]) -> list[Number]:
    """Return the bytes of each model's files; the device's programs are none."""
    return [
        {
            "name": "size",
            "value": sum(file.stat().st_size for file in files if file.suffix != ".py"),
            "unit": "bytes",
            "kind": "measured",
            "how": "size of the model's files",
            "model": name,
        }
        for name, files in models.items()
    ]


def _formats(found: Mapping[str, Any]) -> list[Number]:
    return [
        {
            "name": "weight_bytes",
            "value": size,
            "unit": "bytes",
            "kind": "measured",
            "how": FORMAT_HOW,
            "model": "artifact",
            "format": kind,
        }
        for kind, size in found["bytes_by_format"].items()
    ]


def _unknown(reason: str) -> list[Number]:
    names = {"latency_p50": "ms", "latency_p90": "ms", "latency_p99": "ms", "load": "ms"}
    names |= {"peak_memory": "bytes"}
    return [
        {"name": n, "value": None, "unit": u, "kind": None, "how": reason, "model": "artifact"}
        for n, u in names.items()
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
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
        }
    return {"schema": SCHEMA, "target": target.name, "host": where, "numbers": numbers}

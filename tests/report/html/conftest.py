"""Bundles as a page shows them, with all that a page can show."""

from collections.abc import Callable
from typing import Any

import pytest

from edgecompile.report.html.sections import Shown

MEASURED = {"kind": "measured", "how": "in turn"}
MILLISECONDS = {"float": 0.33, "dynamic_int8": 0.18, "artifact": 0.13}
MEGABYTES = {"float": 90.3, "dynamic_int8": 23.3, "artifact": 23.0}


def _numbers() -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for model, size in MEGABYTES.items():
        rows.append({"name": "size", "unit": "bytes", "value": size * 1e6, "model": model})
        rows.append({"name": "peak_memory", "unit": "bytes", "value": size * 2e6, "model": model})
        rows.append({"name": "load", "unit": "ms", "value": size, "model": model, "threads": 1})
        for sequence in (16, 64, 128):
            for threads in (1, 2):
                ms = MILLISECONDS[model] * sequence / threads
                place = {"model": model, "sequence": sequence, "threads": threads, "repeats": 9}
                band = {"low": 0.96 * ms, "high": 1.05 * ms, "confidence": 0.961}
                timed = {"unit": "ms", "value": ms} | place | band
                rows += [{"name": f"latency_p{share}"} | timed for share in (50, 90, 99)]
                if model != "float":
                    ratio = MILLISECONDS[model] / MILLISECONDS["float"]
                    band = {"low": ratio - 0.02, "high": ratio + 0.02, "confidence": 0.961}
                    row = {"name": "latency_vs_float", "unit": "of float", "value": ratio}
                    rows.append(row | place | band)
    for kind, size in (("int8", 22_533_888), ("float", 388_440)):
        row = {"name": "weight_bytes", "unit": "bytes", "value": size, "model": "artifact"}
        rows.append(row | {"format": kind})
    rows = [MEASURED | row for row in rows]
    modelled = {"kind": "modelled", "how": "latency times watts"}
    for model, joules in (("float", 0.26), ("artifact", 0.1)):
        row = {"name": "energy", "unit": "J", "value": joules, "model": model}
        row |= {"sequence": 128, "threads": 1}
        rows.append(modelled | row | {"low": 0.7 * joules, "high": 1.4 * joules})
        row = {"name": "carbon_1000", "unit": "g CO2e", "value": joules * 0.04, "model": model}
        row |= {"sequence": 128, "low": joules * 0.02, "high": joules * 0.06}
        rows += [modelled | row, modelled | row | {"sequence": 16}]
    return rows


def _profile(prefix: str) -> dict[str, Any]:
    layers = [f"{prefix}encoder.layer.{n}.{part}" for n in range(6) for part in ("dense", "qkv")]
    operators = [
        {"model": model, "layer": layer, "does": does, "operator": "MatMul", "value": ms * scale}
        for model, scale in (("float", 3.0), ("artifact", 1.0))
        for place, layer in enumerate(layers)
        for does, ms in (("Linear", 0.5 + place / 10), ("Gelu", 0.1))
    ]
    table = {"kind": "measured", "how": "profiler", "unit": "ms", "threads": 1, "sequence": 128}
    weights = [
        {"layer": layer, "does": "Linear", "format": "int8", "bytes": 500_000} for layer in layers
    ]
    weights.append(
        {"layer": f"{prefix}words", "does": "table", "format": "int4", "bytes": 11_000_000}
    )
    return {
        "schema": 2,
        "target": "x86-64",
        "host": {"cpu": "AMD EPYC", "isa": "x86_64", "when": "2026-11-26T00:00:00+00:00"},
        "numbers": _numbers(),
        "weights": weights,
        "operator_times": table | {"rows": operators, "missing": {}},
        "warnings": ["this machine is too noisy to say"],
    }


def _manifest(prefix: str) -> dict[str, Any]:
    rungs = ["float", *["int8"] * 5]
    names = [f"{prefix}encoder.layer.{n}.dense" for n in range(6)]
    tensors = [
        {"tensor": name, "linears": [name], "lost_r2": {"int8": 10.0 ** -(n + 1)}, "ms": {}}
        for n, name in enumerate(names)
    ]
    points = [{"cost": 9e7 - n * 1e7, "loss": n * n * 0.01} for n in range(6)]
    chosen = {"cost": 6e7, "measured_loss": 0.08}
    return {
        "schema": 1,
        "edgecompile": "0.1.0",
        "model": f"{prefix}MiniLM",
        "target": "x86-64",
        "engine": "onnxruntime",
        "runtime": ">=1.24",
        "built_with": "onnxruntime 1.32.0",
        "artifact": "model.onnx",
        "accuracy": {
            "metric": "cosine", "mean": 0.9985, "min": 0.9973, "samples": 64, "signal": 0.9966,
            "floor": 0.99,
        },
        "recipe": {"gate": {"signal": 0.9}, "note": prefix},
        "calibration": {"data": f"{prefix}docs.jsonl", "kind": "text", "samples": 64},
        "evaluation": {"data": "golden.jsonl", "kind": "text", "samples": 64, "sha256": "ab" * 32},
        "inputs": {f"{prefix}config.json": "cd" * 32},
        "quantization": {
            "lowest": "int8",
            "linears": {
                name: {"rung": rung, "why": "the gate"}
                for name, rung in zip(names, rungs, strict=True)
            },
            "ladder": {"tensors": tensors},
        },
        "pruning": {"curve": {"unit": "bytes", "dense": 9e7, "points": points, "chosen": chosen}},
        "steps": [{"stage": "export", "name": "native", "seconds": 0.1, "ops": 9, "bytes": 9e7}],
        "files": {"model.onnx": "ef" * 32},
    }  # fmt: skip


def _samples(prefix: str) -> dict[str, Any]:
    worst = [
        {"sample": n, "score": 0.99, "tokens": 12, "text": f"{prefix}the sentence {n}"}
        for n in range(1, 9)
    ]
    scatter = {"what": "cosine", "float": [0.1, 0.5, 0.9], "artifact": [0.11, 0.49, 0.9]}
    return {
        "schema": 1, "metric": "cosine", "scores": [0.99] * 64, "tokens": [12] * 64,
        "worst": worst, "scatter": scatter,
    }  # fmt: skip


@pytest.fixture
def shown() -> Callable[..., Shown]:
    """Return a factory of bundles; `prefix` is put before each text that a stranger can choose."""

    def make(name: str = "MiniLM for x86-64", prefix: str = "") -> Shown:
        return Shown(f"{prefix}{name}", _manifest(prefix), _profile(prefix), _samples(prefix))

    return make

"""Count a bundle's artifact on its emulated board, and model the board's latency from it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.counts.count_artifact import count_artifact
from edgecompile.counts.emulated_numbers import check_dot, emulated_numbers, operator_table
from edgecompile.emit.bundle import RUNTIME
from edgecompile.emulate.userland import Userland
from edgecompile.errors import EmulationError
from edgecompile.latency.estimate_latency import find_bound, latency_numbers
from edgecompile.target import Target

Say = Callable[[str, str], None]
Number = dict[str, Any]

COUNTED = ("instructions", "int8_macs")
NO_MODEL = "no published times are known for this board: see [latency] of raspberry-pi-5.toml"


def count_bundle(  # noqa: PLR0917 - what runs where, and for whom
    folder: Path,
    manifest: Mapping[str, Any],
    target: Target,
    userland: Userland,
    say: Say,
    environment: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return a profile's further keys: "numbers", and "operators" where something was counted.

    The largest golden sample is run: what smoke.py times on the board. Where nothing can be
    counted, the numbers are null and say why. Raises GateError: int8 without dot products on a
    board that has them; EmulationError where the program itself fails.
    """
    feed, sequence = largest_golden(folder / str(manifest["golden"]["file"]))
    cpu = target.cpu
    if cpu is None:
        return {"numbers": _unknown(f"{target.name}: its file has no table [cpu]")}
    say("emulate", f"{target.name}: counting the instructions of one inference on a {cpu.name}")
    try:
        counted = count_artifact(
            userland, cpu, target.engine, folder / str(manifest["artifact"]), feed,
            runtime=folder / RUNTIME, environment=environment or {},
        )  # fmt: skip
    except EmulationError as error:
        say("warning", f"{target.name}: {error}")
        return {"numbers": _unknown(str(error))}
    rungs = [row["rung"] for row in manifest["quantization"]["linears"].values()]
    check_dot(target.name, target.cpu_features, rungs, counted.counts)
    how = f"one inference under qemu {userland.qemu_version} as {cpu.name}, by our plugin"
    numbers = emulated_numbers(counted, how, sequence)
    if target.latency is None:
        numbers.append(_null("latency", "ms", NO_MODEL))
    else:
        bound = find_bound(target.latency, counted, say)
        numbers += latency_numbers(target.name, cpu, target.latency, bound, sequence)
    return {"numbers": numbers, "operators": operator_table(counted)}


def replace_numbers(profile: Mapping[str, Any], counted: Mapping[str, Any]) -> dict[str, Any]:
    """Return a profile with what was counted in place of what was counted before."""
    told = {(number["name"], number["model"]) for number in counted["numbers"]}
    kept = [n for n in profile["numbers"] if (n["name"], n.get("model")) not in told]
    rest = {key: value for key, value in profile.items() if key != "operators"}
    return {**rest, **counted, "numbers": [*kept, *counted["numbers"]]}


def largest_golden(path: Path) -> tuple[dict[str, Any], int]:
    """Return the inputs of the largest golden sample, and how many tokens it has."""
    samples: dict[str, dict[str, Any]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            number, side, name = key.split("/", 2)
            if side == "in":
                samples.setdefault(number, {})[name] = archive[key]
    feed = max(samples.values(), key=lambda arrays: sum(a.size for a in arrays.values()))
    return feed, max(a.shape[1] if a.ndim > 1 else 1 for a in feed.values())


def _unknown(reason: str) -> list[Number]:
    found = [_null(name, name, reason) for name in COUNTED]
    return [*found, _null("latency", "ms", reason)]


def _null(name: str, unit: str, reason: str) -> Number:
    shared = {"value": None, "kind": None, "how": reason, "model": "artifact"}
    return {"name": name, "unit": unit, **shared}

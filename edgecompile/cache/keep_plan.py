"""A quantization plan on disk and back: numbers as JSON, vectors and matrices as .npz."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.cache.keep_json import read_json, write_json
from edgecompile.plan import Activation, Output, Plan
from edgecompile.step import Step

NUMBERS, ARRAYS, STEPS = "plan.json", "plan.npz", "steps.json"
VECTORED: Mapping[str, type[Activation | Output]] = {"activations": Activation, "outputs": Output}
"""The fields of a plan whose values hold arrays."""


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan, and the steps that led to it."""

    plan: Plan
    steps: Sequence[Step]


def write_planned(planned: Planned, folder: Path) -> None:
    """Write both."""
    write_plan(planned.plan, folder)
    write_json([asdict(step) for step in planned.steps], folder, STEPS)


def read_planned(folder: Path) -> Planned:
    """Read both."""
    return Planned(read_plan(folder), [Step(**row) for row in read_json(folder, STEPS)])


def write_plan(plan: Plan, folder: Path) -> None:
    """Write a plan: what JSON gives back is the same to the last bit."""
    told: dict[str, Any] = {
        field.name: getattr(plan, field.name)
        for field in fields(plan)
        if field.name not in VECTORED
    }
    arrays: dict[str, Any] = {}
    for table in VECTORED:
        rows = []
        for number, (name, value) in enumerate(getattr(plan, table).items()):
            row = {field.name: getattr(value, field.name) for field in fields(value)}
            found = {key: each for key, each in row.items() if isinstance(each, np.ndarray)}
            arrays |= {f"{table}/{number}/{key}": each for key, each in found.items()}
            rows.append([name, {key: each for key, each in row.items() if key not in found}])
        told[table] = rows
    told["tensors"] = {name: list(ends) for name, ends in plan.tensors.items()}
    write_json(told, folder, NUMBERS)
    np.savez(folder / ARRAYS, **arrays)


def read_plan(folder: Path) -> Plan:
    """Read a plan."""
    told = read_json(folder, NUMBERS)
    with np.load(folder / ARRAYS, allow_pickle=False) as archive:
        arrays: dict[str, dict[str, Any]] = {}
        for file in archive.files:
            place, _, key = file.rpartition("/")
            arrays.setdefault(place, {})[key] = archive[file]
    for table, kind in VECTORED.items():
        told[table] = {
            name: kind(**row, **arrays.get(f"{table}/{number}", {}))
            for number, (name, row) in enumerate(told[table])
        }
    told["tensors"] = {name: tuple(ends) for name, ends in told["tensors"].items()}
    return Plan(**told)

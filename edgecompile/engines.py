"""An engine is one module of `emit/`: it has write, runner, runtime_version, HOW, RUNGS."""

import importlib
import re
from types import ModuleType

from edgecompile.errors import MissingRuntimeError
from edgecompile.target import Target

REFERENCE = "onnxruntime"
"""What runs the float model, and the dynamic int8 that artifacts are compared with."""


def engine(name: str) -> ModuleType:
    """Return the module of an engine."""
    return importlib.import_module(f"edgecompile.emit.{name}")


def check_installed(target: Target) -> None:
    """Say so if the runtime that a target's engine needs is not here, or too old."""
    version = engine(target.engine).runtime_version()
    found, oldest = (
        [int(number) for number in re.findall(r"\d+", text)[:2]]
        for text in (version, target.runtime)
    )
    if found < oldest:
        fault = f"{version} is too old for {target.name}"
        raise MissingRuntimeError(target.engine, fault, f"{target.engine}{target.runtime}")

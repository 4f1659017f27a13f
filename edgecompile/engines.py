"""An engine is a module of `emit/`: it has write, runner, runtime_version, HOW, RUNGS, WEIGHTS."""

import importlib
import re
from types import ModuleType

from edgecompile.errors import MissingRuntimeError, UnsupportedError
from edgecompile.recipe import WEIGHT_SCHEMES
from edgecompile.target import Target

REFERENCE = "onnxruntime"
"""What runs the float model, and the dynamic int8 that artifacts are compared with."""


def engine(name: str) -> ModuleType:
    """Return the module of an engine."""
    return importlib.import_module(f"edgecompile.emit.{name}")


def check_installed(target: Target) -> None:
    """Say so if the runtime that a target's engine needs is not here, or too old."""
    version = engine(target.engine).runtime_version()
    if _version(version) < _version(target.runtime):
        fault = f"{version} is too old for {target.name}"
        raise MissingRuntimeError(target.engine, fault, f"{target.engine}{target.runtime}")


def check_scheme(target: Target, scheme: str) -> None:
    """Say so if a target's engine, or the oldest runtime that its file allows, lacks a scheme."""
    if scheme not in WEIGHT_SCHEMES:
        return
    runs = engine(target.engine).WEIGHTS
    if scheme not in runs:
        board = target.name.partition(":")[0]
        msg = (
            f"{target.name}: [quantize] scheme '{scheme}' is not made for {target.engine}; ask for"
            f" 'int8', or choose {board}:{REFERENCE}"
        )
        raise UnsupportedError(msg)
    needed, promised = runs[scheme], _version(target.runtime)
    if promised < list(needed):
        wanted = ".".join(map(str, needed))
        msg = (
            f"{target.name}: [quantize] scheme '{scheme}' needs {target.engine} {wanted}, its file"
            f" allows {target.runtime}; raise `runtime` there, or choose another scheme"
        )
        raise UnsupportedError(msg)


def _version(text: str) -> list[int]:
    """Return the first two numbers of a version, or of what demands one."""
    return [int(number) for number in re.findall(r"\d+", text)[:2]]

"""An engine is one module of `emit/`: it has write, runner, runtime_version, HOW, RUNGS."""

import importlib
from types import ModuleType

REFERENCE = "onnxruntime"
"""What runs the float model, and the dynamic int8 that artifacts are compared with."""


def engine(name: str) -> ModuleType:
    """Return the module of an engine."""
    return importlib.import_module(f"edgecompile.emit.{name}")

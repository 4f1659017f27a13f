"""A node of a lowered graph -> the TFLite operators that compute it.

A writer works out its outputs' shapes. Versions are the oldest that have the kernel: a runtime
refuses newer ones than it knows.
"""

import importlib
import pkgutil

from edgecompile.tflite.operators.read_node import Writer, Writers


def writers() -> Writers:
    """Return all writers: each module here has a table WRITERS of some."""
    found: dict[tuple[str, str], Writer] = {}
    for module in pkgutil.iter_modules(__path__):
        found |= getattr(importlib.import_module(f"{__name__}.{module.name}"), "WRITERS", {})
    return found

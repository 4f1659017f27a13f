"""How an Ethos-U's bundle runs without the NPU, by run_parts.py: in LiteRT's reference kernels."""

import importlib
import os
import sys
from pathlib import Path

PACKAGES = ("numpy", "ai-edge-litert")


class Runtime:
    """LiteRT, in place of the NPU."""

    emulates = True

    def __init__(self):
        """Import it."""
        import ai_edge_litert
        import ai_edge_litert.interpreter

        self.module, self.version = ai_edge_litert.interpreter, ai_edge_litert.__version__

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; 0 threads = all."""
        sys.path.insert(0, str(Path(path).parent))  # python -I leaves it out
        parts = importlib.import_module("run_parts")
        return parts.open_parts(self.module, Path(path).parent, threads or os.cpu_count())

"""How LiteRT does, by interpret.py beside the artifact: texts are padded to the next length."""

import importlib
import os
import sys
from pathlib import Path

PACKAGES = ("numpy", "ai-edge-litert")


class Runtime:
    """LiteRT, on the CPU."""

    emulates = False

    def __init__(self):
        """Import it."""
        import ai_edge_litert
        import ai_edge_litert.interpreter

        self.module, self.version = ai_edge_litert.interpreter, ai_edge_litert.__version__

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; 0 threads = all."""
        sys.path.insert(0, str(Path(path).parent))  # python -I leaves it out
        interpret = importlib.import_module("interpret")
        return interpret.open_artifact(self.module, path, threads or os.cpu_count())

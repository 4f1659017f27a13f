"""How tflite-runtime does, by interpret.py beside the artifact: padded to the next length."""

import importlib
import os
import sys
from pathlib import Path

PACKAGES = ("numpy<2", "tflite-runtime")


class Runtime:
    """tflite-runtime, on the CPU."""

    emulates = False

    def __init__(self):
        """Import it."""
        import tflite_runtime
        import tflite_runtime.interpreter

        self.module, self.version = tflite_runtime.interpreter, tflite_runtime.__version__

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; 0 threads = all."""
        sys.path.insert(0, str(Path(path).parent))  # python -I leaves it out
        interpret = importlib.import_module("interpret")
        return interpret.open_artifact(self.module, path, threads or os.cpu_count())

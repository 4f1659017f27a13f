"""How ESP-DL's bundle runs without a chip: in esp-ppq's simulation, on a PC."""

import importlib
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "onnxruntime", "esp-ppq", "torch")


class Runtime:
    """esp-ppq, in the place of a chip."""

    emulates = True

    def __init__(self):
        """Find it."""
        self.version = version("esp-ppq")

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; 0 threads = all."""
        sys.path.insert(0, str(Path(path).parent))  # python -I leaves it out
        return importlib.import_module("simulate").open_bundle(Path(path).parent, threads)

"""How Core ML runs a package on a Mac, by coremltools: texts are padded to the package's length."""

import json
import platform
from pathlib import Path

PACKAGES = ("numpy<2.4", "coremltools")


class Runtime:
    """Core ML, on whichever of CPU, GPU and Neural Engine it chooses."""

    emulates = False

    def __init__(self):
        """Import coremltools; it runs packages on macOS alone."""
        if platform.system() != "Darwin":
            msg = "Core ML is on macOS alone: run this on a Mac"
            raise ImportError(msg)
        import coremltools

        self.module, self.version = coremltools, coremltools.__version__

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; Core ML has threads of its own."""
        del threads
        model = self.module.models.MLModel(str(Path(path).parent))
        about = model.get_spec().description
        axes = json.loads(about.metadata.userDefined["edgecompile.text_axes"] or "{}")
        wanted = {value.name: value.type.multiArrayType for value in about.input}

        def run(feed):
            padded = {
                name: pad(feed[name].astype(kind_of(array)), list(array.shape))
                for name, array in wanted.items()
            }
            length = max([0, *(a.shape[1] for a in feed.values() if a.ndim == 2)])
            return {
                name: answer.take(range(length), axes[name]) if name in axes else answer
                for name, answer in model.predict(padded).items()
            }

        return run


def kind_of(array):
    """Return numpy's name of an input's type: 131,104 is INT32 in Core ML's specification."""
    return "int32" if array.dataType == 131104 else "float32"


def pad(array, shape):
    """Return an array in a larger shape, zeros behind."""
    import numpy as np

    padded = np.zeros(shape, array.dtype)
    padded[tuple(slice(n) for n in array.shape)] = array
    return padded

"""How onnxruntime opens and runs an artifact: at its default options."""

import os

PACKAGES = ("numpy", "onnxruntime")


class Runtime:
    """onnxruntime, on the CPU."""

    emulates = False

    def __init__(self):
        """Import it."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # 1.32 tells its maker otherwise
        import onnxruntime

        self.module, self.version = onnxruntime, onnxruntime.__version__

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; 0 threads = all."""
        options = self.module.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        session = self.module.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda feed: dict(zip(names, session.run(names, feed)))

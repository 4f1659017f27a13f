"""How Rockchip's NPU runs an artifact, by rknn-toolkit-lite2; before and behind it, onnxruntime."""

import importlib
import os
import sys
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "onnxruntime", "rknn-toolkit-lite2")


class Runtime:
    """The encoder on the NPU, by run_parts.py beside the artifact."""

    emulates = False

    def __init__(self):
        """Import both."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # 1.32 tells its maker otherwise
        import onnxruntime
        import rknnlite.api

        self.host, self.module = onnxruntime, rknnlite.api.RKNNLite
        self.version = version("rknn-toolkit-lite2")

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; the NPU has threads of its own."""
        folder, npu = Path(path).parent, self.module()
        check(npu.load_rknn(str(folder / "encoder.rknn")) == 0)
        check(npu.init_runtime() == 0)
        sys.path.insert(0, str(folder))  # python -I leaves it out
        opened = importlib.import_module("run_parts").open_parts(
            self.host, folder, threads, lambda batch: [encode(npu, one) for one in batch]
        )
        return lambda feed: opened([feed])[0]


def encode(npu, arrays):
    """Let the NPU run once."""
    answers = npu.inference(inputs=arrays)
    check(answers is not None)
    return answers


def check(done):
    """Raise where rknn-toolkit-lite2 says that something failed; it prints why itself."""
    if not done:
        msg = "the NPU's driver or librknnrt.so refuses it: its own lines are above"
        raise RuntimeError(msg)

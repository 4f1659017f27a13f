"""How Qualcomm's NPU runs an artifact, by onnxruntime-qnn; on a PC, the emulator that it brings."""

import json
import os
import platform
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "onnxruntime-qnn")
PROVIDER = "QNNExecutionProvider"


class Runtime:
    """onnxruntime with Qualcomm's plug-in; nothing may fall back to the CPU."""

    emulates = platform.machine().lower() in ("x86_64", "amd64")

    def __init__(self):
        """Import both."""
        os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # 1.32 tells its maker otherwise
        import onnxruntime
        import onnxruntime_qnn

        self.module, self.qnn = onnxruntime, onnxruntime_qnn
        self.version = version("onnxruntime-qnn")
        onnxruntime.register_execution_provider_library(
            PROVIDER, onnxruntime_qnn.get_library_path()
        )

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; the NPU has threads of its own."""
        del threads
        options = self.module.SessionOptions()
        options.log_severity_level = 3
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")
        devices = [d for d in self.module.get_ep_devices() if d.ep_name == PROVIDER]
        settings = {"backend_path": self.qnn.get_qnn_htp_path()}
        if not self.emulates:
            settings["htp_performance_mode"] = "burst"
        options.add_provider_for_devices(devices[:1], settings)
        session = self.module.InferenceSession(path, options)
        look_up = self.open_tables(Path(path).with_name("tables.onnx"))
        stated = session.get_modelmeta().custom_metadata_map
        axes = json.loads(stated.get("edgecompile.text_axes", "{}"))
        every = [output.name for output in session.get_outputs()]

        def run(feed):
            padded = fit(session, {**feed, **look_up(feed)})
            length = max([0, *(a.shape[1] for a in feed.values() if a.ndim == 2)])
            return {
                name: answer.take(range(length), axes[name]) if name in axes else answer
                for name, answer in zip(every, session.run(every, padded))
            }

        return run

    def open_tables(self, path):
        """Return a function from a feed to what the CPU computes of it first, if it has tables."""
        if not path.is_file():
            return dict
        session = self.module.InferenceSession(path, providers=["CPUExecutionProvider"])
        names = [output.name for output in session.get_outputs()]
        return lambda feed: dict(zip(names, session.run(names, fit(session, feed))))


def fit(session, feed):
    """Return what a session reads of a feed, in its types and shapes, zeros behind."""
    import numpy as np

    found = {}
    for wanted in session.get_inputs():
        array = feed[wanted.name]
        padded = np.zeros(wanted.shape, "int32" if "int32" in wanted.type else "float32")
        padded[tuple(slice(n) for n in array.shape)] = array
        found[wanted.name] = padded
    return found

"""Compiles for Qualcomm's HTP and runs the emulator: runs in the toolchain's own Python.

Requests: {"do": "compile", "model", "artifact", "chip": {soc_model, htp_arch}, "strict": True}
          {"do": "run", "artifact", "feeds", "answers", "outputs"}    .npz of NUMBER/NAME
"""

from typing import Any

import numpy as np
import onnxruntime as ort
import onnxruntime_qnn

PROVIDER = "QNNExecutionProvider"
WARNING = 2


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request says."""
    ort.set_default_logger_severity(WARNING)
    ort.register_execution_provider_library(PROVIDER, onnxruntime_qnn.get_library_path())
    return _compile(request) if request["do"] == "compile" else _run(request)


def _compile(request: dict[str, Any]) -> dict[str, Any]:
    entries = {
        "ep.context_enable": "1",
        "ep.context_file_path": request["artifact"],
        "ep.context_embed_mode": "0",
        "session.disable_cpu_ep_fallback": str(int(request.get("strict", True))),
    }
    options = {"htp_graph_finalization_optimization_mode": "3", **request["chip"]}
    ort.InferenceSession(request["model"], _options(options, entries))
    return {}


def _run(request: dict[str, Any]) -> dict[str, Any]:
    strict = {"session.disable_cpu_ep_fallback": "1"}
    session = ort.InferenceSession(request["artifact"], _options({}, strict))
    types = {i.name: np.int32 if "int32" in i.type else np.float32 for i in session.get_inputs()}
    feeds: dict[str, dict[str, Any]] = {}
    with np.load(request["feeds"], allow_pickle=False) as found:
        for key in found.files:
            number, name = key.split("/", 1)
            feeds.setdefault(number, {})[name] = found[key].astype(types[name])
    answers = {
        f"{number}/{name}": array
        for number, feed in feeds.items()
        for name, array in zip(
            request["outputs"], session.run(request["outputs"], feed), strict=True
        )
    }
    np.savez(request["answers"], **answers)
    return {}


def _options(options: dict[str, str], entries: dict[str, str]) -> ort.SessionOptions:
    found = ort.SessionOptions()
    for key, value in entries.items():
        found.add_session_config_entry(key, value)
    devices = [device for device in ort.get_ep_devices() if device.ep_name == PROVIDER]
    backend = {"backend_path": onnxruntime_qnn.get_qnn_htp_path()}
    found.add_provider_for_devices(devices[:1], backend | options)
    return found

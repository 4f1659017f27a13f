"""ExecuTorch's own quantizer for XNNPACK, as its documentation says, on our float graph.

A worker (edgecompile/toolchain/worker.py), in a folder with a float graph of graph_file.py.
Request: {"writer": our write_worker.py, "program", "longest", "metadata", "dynamic", "feeds"}.
"""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.backends.xnnpack.quantizer.xnnpack_quantizer import (
    XNNPACKQuantizer,
    get_symmetric_quantization_config,
)
from executorch.exir import EdgeCompileConfig, to_edge_transform_and_lower
from torchao.quantization.pt2e.quantize_pt2e import convert_pt2e, prepare_pt2e


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Trace, calibrate, round, lower, save."""
    ours = runpy.run_path(request["writer"])
    graph = json.loads(Path("graph.json").read_text(encoding="utf-8"))
    with np.load("arrays.npz", allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    module = ours["Graph"](graph, arrays).eval()
    example, shapes = ours["_example"](graph, int(request["longest"]))
    traced = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    config = get_symmetric_quantization_config(
        is_per_channel=True, is_dynamic=bool(request["dynamic"])
    )
    prepared = prepare_pt2e(
        traced.module(check_guards=False), XNNPACKQuantizer().set_global(config)
    )
    rows: dict[str, dict[str, Any]] = {}
    with np.load(request["feeds"], allow_pickle=False) as archive:
        for key in archive.files:
            number, name = key.split("/", 1)
            rows.setdefault(number, {})[name] = torch.from_numpy(archive[key])
    for feed in rows.values():
        prepared(*(feed[value["name"]] for value in graph["inputs"]))
    rounded = torch.export.export(
        convert_pt2e(prepared), example, dynamic_shapes=shapes[0], strict=False
    )
    lowered = to_edge_transform_and_lower(
        rounded,
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
        constant_methods={"edgecompile": json.dumps(request["metadata"])},
    )
    Path(request["program"]).write_bytes(lowered.to_executorch().buffer)
    return {}

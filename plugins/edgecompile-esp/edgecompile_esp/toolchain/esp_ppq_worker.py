"""Writes .espdl files and runs esp-ppq's simulation: runs in the toolchain's own Python.

Requests: {"do": "compile", "folder", "artifact"}    folder holds encoder.onnx
          {"do": "run", "folder", "feeds", "answers", "outputs"}    .npz of NUMBER/NAME
"""

import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

sys.path.append(str(Path(__file__).parents[1]))
import simulate


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request says."""
    folder = Path(request["folder"])
    if request["do"] == "compile":
        return _compile(folder, Path(request["artifact"]))
    run = simulate.open_bundle(folder, threads=1)
    feeds: dict[str, dict[str, Any]] = {}
    with np.load(request["feeds"], allow_pickle=False) as found:
        for key in found.files:
            number, name = key.split("/", 1)
            feeds.setdefault(number, {})[name] = found[key]
    answers = {
        f"{number}/{name}": array
        for number, feed in feeds.items()
        for name, array in run(feed).items()
    }
    np.savez(request["answers"], **answers)
    return {}


def _compile(folder: Path, artifact: Path) -> dict[str, Any]:
    """Write the artifact; say what is found in it, and whether its weights are those simulated.

    It holds an input and what the simulation answers: `model->test()` compares on the chip.
    """
    import esp_ppq.lib
    import onnx
    from esp_ppq.api.espdl_interface import generate_test_value
    from esp_ppq.parser.espdl import helper

    helper.AlignedBytes.CreateAlignedBytes = _write_aligned
    encoder = folder / simulate.ENCODER
    stated = onnx.load(encoder)
    graph, platform = simulate.quantize(encoder)
    feed = simulate.open_host(folder, stated)(simulate.any_feed(folder, stated))
    tested = generate_test_value(graph, "cpu", feed)
    exporter = esp_ppq.lib.Exporter(platform=platform)
    exporter.export(
        file_path=str(artifact), graph=graph, export_config=False, values_for_test=tested
    )
    return {"nodes": _read_nodes(artifact), "same_weights": _same_weights(encoder, artifact)}


def _write_aligned(builder: Any, data: bytes) -> int:
    """Write 16 bytes at once, as esp-ppq does one after the other: MiniLM has 11 million."""
    builder.Prep(16, 16)
    builder.head -= 16
    builder.Bytes[builder.head : builder.head + 16] = data
    return int(builder.Offset())


def _read_graph(artifact: Path) -> Any:
    """Return the graph of an .espdl file: a header of 16 bytes, then a flatbuffer."""
    from esp_ppq.parser.espdl.FlatBuffers.Dl.Model import Model

    return Model.GetRootAs(artifact.read_bytes(), 16).Graph()


def _read_nodes(artifact: Path) -> dict[str, int]:
    """Count the operators of an artifact: {"Gemm W8A16": 36}."""
    graph = _read_graph(artifact)
    found: Counter[str] = Counter()
    for node in map(graph.Node, range(graph.NodeLength())):
        attributes = map(node.Attribute, range(node.AttributeLength()))
        widths = [a.SAsNumpy().tobytes() for a in attributes if a.Name() == b"quant_type"]
        found[f"{node.OpType().decode()} {b''.join(widths[:1]).decode() or 'F32'}"] += 1
    return dict(found)


def _same_weights(encoder: Path, artifact: Path) -> bool:
    """Say whether an artifact holds the very integers and scales that were simulated.

    The integers lie in an order of the chip's own: they are compared sorted.
    """
    import onnx
    from onnx import numpy_helper

    model = onnx.load(encoder)
    stored = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    wanted = {
        node.output[0]: [stored[name] for name in node.input[:2]]
        for node in model.graph.node
        if node.op_type == "DequantizeLinear"
    }
    graph = _read_graph(artifact)
    for tensor in map(graph.Initializer, range(graph.InitializerLength())):
        if (pair := wanted.pop(tensor.Name().decode(), None)) is None:
            continue
        q, scale = pair
        start = tensor.RawData(0)._tab.Pos  # noqa: SLF001 - blocks of 16 bytes, one by one otherwise
        here = np.frombuffer(tensor._tab.Bytes, np.int8, q.size, start)  # noqa: SLF001
        exponents = tensor.ExponentsAsNumpy()
        if not np.array_equal(np.sort(here), np.sort(q.ravel())):
            return False
        if not np.array_equal(np.exp2(exponents), scale.ravel()):
            return False
    return not wanted

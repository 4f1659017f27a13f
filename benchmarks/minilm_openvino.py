"""OpenVINO on this machine: our forms, what targets/*.toml cite, and NNCF's quantizer.

    python benchmarks/minilm_openvino.py [--repeats 40]

MiniLM, one sentence of 128 tokens, one thread, all in turn in one process; cosine on the 256
held-out sentences. NNCF takes part where it is installed, best in an environment of its own:
pip install -e . openvino nncf
"""

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from edgecompile import samples
from edgecompile.emit import onnxruntime, openvino
from edgecompile.evaluate import accuracy
from edgecompile.export.read_model import export, find_source
from edgecompile.passes import passes_of, run
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT
from edgecompile.profile.host import read_host
from edgecompile.profile.measure_latency import resize, time_in_turn
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.target import REFERENCE, Forms, load

MODEL = Path(__file__).parents[1] / "models" / "all-MiniLM-L6-v2"
LENGTH, SAMPLES = 128, 64
FORMS = {
    "matmul, operator, erf": Forms("operator", "erf", "matmul"),
    "matmul, operator, tanh": Forms("operator", "tanh", "matmul"),
    "convolution, operator, erf": Forms("operator", "erf", "convolution"),
    "convolution, channels-first, erf": Forms("channels-first", "erf", "convolution"),
    "convolution, channels-first, tanh": Forms("channels-first", "tanh", "convolution"),
}


def main() -> None:
    """Quantize, time, judge, print."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--repeats", type=int, default=40)
    repeats = parser.parse_args().repeats
    host = read_host()
    vnni = "with" if "vnni" in host.features else "without"
    print(f"machine: {host.cpu}, {vnni} VNNI; OpenVINO {openvino.runtime_version()}; all measured")
    model = export(find_source(MODEL))
    encoder = samples.open_encoder(MODEL, model, 512)
    docs = _feeds(encoder, "docs.jsonl")[:SAMPLES]
    held = _feeds(encoder, "heldout.jsonl")[:256]
    with tempfile.TemporaryDirectory() as scratch:
        runners = _ours(model, docs, Path(scratch))
        if find_spec("nncf") is not None:
            runners["NNCF"] = _nncf(Path(scratch) / "float" / "model.onnx", docs)
        times = time_in_turn(runners, resize(held[0], LENGTH), repeats)
        expected = [runners["float, onnxruntime"](feed) for feed in held]
        peer = times.get("NNCF")
        print(f"\n  {'linear, attention, gelu':36}{'ms':>8}{'x NNCF':>8}{'mean':>9}{'min':>9}")
        for name, runner in runners.items():
            found = accuracy.compare("cosine", [runner(f) for f in held], expected, held)
            ms = statistics.median(times[name])
            pairs = zip(times[name], peer or [], strict=bool(peer))
            ratio = statistics.median(a / b for a, b in pairs) if peer else float("nan")
            print(f"  {name:36}{ms:8.2f}{ratio:8.2f}{found.mean:9.4f}{found.min:9.4f}")


def _feeds(encoder: samples.Encoder, name: str) -> list[samples.Feed]:
    return list(encoder(samples.read_texts(samples.data_dir() / name)))


def _ours(model, docs, scratch):  # noqa: ANN001, ANN202 - as the pipeline does it
    start = time.perf_counter()
    plan = decide_plan(model, observe_ranges(lower(model, FLOAT, REFERENCE), docs))
    board = load("x86-64:openvino")
    lower(model, plan, board)
    print(f"quantized by edgecompile in {time.perf_counter() - start:.1f} s ({len(docs)} texts)")
    *_, (_, plain) = run(passes_of("lower/exchange"), model)
    graphs = {"float": plain, "onnxruntime": lower(model, plan, load("x86-64"))}
    graphs |= {name: lower(model, plan, replace(board, forms=f)) for name, f in FORMS.items()}
    paths = {}
    for number, (name, graph) in enumerate(graphs.items()):
        folder = scratch / ("float" if name == "float" else str(number))
        folder.mkdir()
        paths[name] = folder / onnxruntime.write(graph, folder, {})[0]
    runners = {
        "float, onnxruntime": onnxruntime.runner(paths["float"], 1),
        "float, OpenVINO": openvino.runner(paths["float"], 1),
        "x86-64 (onnxruntime)": onnxruntime.runner(paths["onnxruntime"], 1),
    }
    return runners | {name: openvino.runner(paths[name], 1) for name in FORMS}


def _nncf(model: Path, docs):  # noqa: ANN001, ANN202 - NNCF has no types
    """Quantize with NNCF at its best documented settings for transformers."""
    os.environ["CI"] = "true"  # NNCF and its OpenVINO then send no telemetry
    import nncf
    import openvino as ov

    start = time.perf_counter()
    quantized = nncf.quantize(
        ov.Core().read_model(model),
        nncf.Dataset(docs, dict),
        model_type=nncf.ModelType.TRANSFORMER,  # turns SmoothQuant on
        subset_size=len(docs),
        fast_bias_correction=True,
    )
    print(f"quantized by NNCF {nncf.__version__} in {time.perf_counter() - start:.1f} s")
    ov.save_model(quantized, model.parent / "nncf.xml", compress_to_fp16=False)
    return openvino.runner(model.parent / "nncf.xml", 1)


if __name__ == "__main__":
    main()

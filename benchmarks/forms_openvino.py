"""Which of several equivalent graph forms OpenVINO runs fastest here: what targets/*.toml cite.

    python benchmarks/forms_openvino.py

MiniLM, one sentence of 128 tokens, one thread, all in turn in one process; cosine on the 256
held-out sentences. (NNCF's quantizer is a row of benchmarks/peers.py.)
"""

import statistics
import tempfile
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
from running import machine, options, save
from sentences import CALIBRATION, HELDOUT, SAMPLES, feeds, open_minilm

from edgecompile.emit import onnxruntime, openvino
from edgecompile.evaluate import accuracy
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT
from edgecompile.profile.choose_feeds import resize
from edgecompile.profile.measure_latency import time_in_turn
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.target import REFERENCE, Forms, load

LENGTH, REPEATS = 128, 40
FORMS = {
    "matmul, operator, erf": Forms("operator", "erf", "matmul"),
    "matmul, operator, tanh": Forms("operator", "tanh", "matmul"),
    "convolution, operator, erf": Forms("operator", "erf", "convolution"),
    "convolution, channels-first, erf": Forms("channels-first", "erf", "convolution"),
    "convolution, channels-first, tanh": Forms("channels-first", "tanh", "convolution"),
}


def main() -> None:
    """Lower, time, judge, print."""
    arguments = options(__doc__).parse_args()
    print(f"machine: {machine()}; OpenVINO {openvino.runtime_version()}; all measured\n")
    model, encoder = open_minilm()
    held = feeds(encoder, HELDOUT, 256)
    reference = lower(model, FLOAT, REFERENCE)
    plan = decide_plan(model, observe_ranges(reference, feeds(encoder, CALIBRATION, SAMPLES)))
    board = load("x86-64:openvino")
    graphs = {"float": lower(model, FLOAT, board)}
    graphs |= {name: lower(model, plan, replace(board, forms=f)) for name, f in FORMS.items()}
    with tempfile.TemporaryDirectory() as scratch:
        runners = {name: _runner(graph, Path(scratch), name) for name, graph in graphs.items()}
        times = time_in_turn(runners, resize(held[0], LENGTH), REPEATS)
        expected = [runners["float"](feed) for feed in held]
        rows = {}
        print(f"  {'linear, attention, gelu':36}{'ms':>8}{'x float':>9}{'mean':>9}{'min':>9}")
        for name, runner in runners.items():
            found = accuracy.compare("cosine", [runner(f) for f in held], expected, held)
            ms = statistics.median(times[name])
            speed = statistics.median(times["float"]) / ms
            rows[name] = {"ms": ms, "mean": found.mean, "min": found.min}
            print(f"  {name:36}{ms:8.2f}{speed:9.2f}{found.mean:9.4f}{found.min:9.4f}")
    save(arguments.json, {"machine": machine(), "forms": rows})


def _runner(graph: ir.Model, scratch: Path, name: str):  # noqa: ANN202 - the engine's
    folder = scratch / name
    folder.mkdir()
    return openvino.runner(folder / onnxruntime.write(graph, folder, {})[0], 1)


if __name__ == "__main__":
    main()

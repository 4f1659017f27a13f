"""What the coreml engine gives for MiniLM, beside coremltools' own quantizer of weights.

    python benchmarks/coreml.py

Ids to embedding, batch 1, 128 tokens. Core ML itself runs on Apple's systems alone: here each
package is read back from disk, and its operators and stored weights are computed with numpy, on
held-out sentences. No latency.
"""

import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from running import ROOT, machine, options, save
from sentences import CALIBRATION, HELDOUT, feeds, open_minilm

from edgecompile.data.feed import Feed
from edgecompile.emit import coreml
from edgecompile.engines import engine
from edgecompile.evaluate import accuracy
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_hessians import observe_hessians
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.session import answer, session
from edgecompile.stages import lower_float
from edgecompile.target import load
from edgecompile.toolchain.venv import open_venv
from edgecompile.toolchain.worker import run_worker

LENGTH, CALIBRATE = 128, 32
PEER = ROOT / "benchmarks" / "peer" / "use_coremltools.py"


def main() -> None:
    """Quantize, write, read back, judge, print."""
    parser = options(__doc__)
    parser.add_argument("--samples", type=int, default=32, help="held-out sentences to compute")
    arguments = parser.parse_args()
    model, encoder = open_minilm(LENGTH)
    calibration = feeds(encoder, CALIBRATION, CALIBRATE)
    held = feeds(encoder, HELDOUT, arguments.samples)
    reference = lower_float(model)
    expected = answer(session(reference), held)
    board = replace(load("iphone"), lengths=(LENGTH,))
    plan = decide_plan(model, observe_ranges(reference, calibration))
    fitted = observe_hessians(reference, plan, calibration)

    def ours(lowered: ir.Model) -> Callable[[Path], Path]:
        return lambda folder: folder / coreml.write(lowered, folder, {})[0]

    makers = {
        "edgecompile, float16": ours(lower(model, FLOAT, board)),
        "the same, coremltools' int8 weights": lambda folder: _peer(model, board, folder),
        "edgecompile, int8 weights": ours(lower(model, plan, board)),
        "edgecompile, int8 weights, gptq": ours(lower(model, fitted, board)),
    }
    version = engine("coreml").runtime_version()
    print(f"machine: {machine()}; coremltools {version}; emulated\n")
    print(f"  {'':38}{'write s':>9}{'MB':>8}{'mean':>9}{'min':>9}", flush=True)
    rows = {}
    for name, make in makers.items():
        rows[name] = shown = _row(make, held, expected)
        print(
            f"  {name:38}{shown['write_s']:9.1f}{shown['mb']:8.2f}"
            f"{shown['mean']:9.5f}{shown['min']:9.5f}",
            flush=True,
        )
    print(f"\n  operators of the last: {shown['operators']}")
    save(arguments.json, {"machine": machine(), "kind": "emulated", "variants": rows})


def _peer(model: ir.Model, board: Any, folder: Path) -> Path:
    """Let coremltools round the weights of the float16 package."""
    names = coreml.write(lower(model, FLOAT, board), folder, {})
    package = (folder / names[0]).parent
    shutil.move(package, folder / "half.mlpackage")
    request = {"package": str(folder / "half.mlpackage"), "output": str(package)}
    python = open_venv(coreml.TOOLCHAIN, lambda _stage, _line: None)
    run_worker(python, PEER, request, folder, time_limit_s=600)
    return folder / names[0]


def _row(make: Callable[[Path], Path], held: Sequence[Feed], expected: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        start = time.perf_counter()
        artifact = make(Path(scratch))
        seconds = time.perf_counter() - start
        parts = [path for path in artifact.parent.rglob("*") if path.is_file()]
        size = sum(path.stat().st_size for path in parts)
        answers = coreml.answer_all(artifact, held)
        operators = coreml.describe(artifact)["operators"]
    found = accuracy.compare("cosine", answers, expected, held)
    return {
        "write_s": seconds, "mb": size / 1e6, "mean": found.mean, "min": found.min,
        "operators": operators,
    }  # fmt: skip


if __name__ == "__main__":
    main()

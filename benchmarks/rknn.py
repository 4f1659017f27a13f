"""What the rknn engine gives for MiniLM on Rockchip's NPUs, beside rknn-toolkit2's own w8a8.

    python benchmarks/rknn.py

The encoder, batch 1, 128 tokens; lookups and pooling are the host's in each row. rknn-toolkit2
compiles and simulates, on held-out sentences. All have the same calibration texts; "naive" is the
float graph as exporters write it, zeros as padding, and rknn-toolkit2's defaults. "MB" is
encoder.rknn. No latency: the simulator's time means nothing.
"""

import resource
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from litert import plan_for
from running import machine, options, save
from sentences import CALIBRATION, HELDOUT, feeds, open_minilm

from edgecompile import engines
from edgecompile.data.feed import Feed
from edgecompile.emit import rknn
from edgecompile.evaluate import accuracy
from edgecompile.facts import PROFILE, SAMPLES
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT, Plan
from edgecompile.rockchip.finish_bundle import finish_bundle
from edgecompile.session import answer, session
from edgecompile.stages import lower_float
from edgecompile.target import Target, load

LENGTH, CALIBRATE = 128, 32
TARGETS = ("rk3588-npu", "rk3576-npu", "rk3566-npu")
VARIANTS = ("rknn-toolkit2's w8a8, naive", "edgecompile, fast", "edgecompile, accurate",
            "edgecompile, float16")  # fmt: skip


def main() -> None:
    """Quantize, compile, simulate, judge, print."""
    parser = options(__doc__)
    parser.add_argument("--samples", type=int, default=32, help="held-out sentences to simulate")
    parser.add_argument("--targets", nargs="+", default=TARGETS, help="which chips")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, help="which rows")
    arguments = parser.parse_args()
    model, encoder = open_minilm(LENGTH)
    calibration = feeds(encoder, CALIBRATION, CALIBRATE)
    held = feeds(encoder, HELDOUT, arguments.samples)
    expected = answer(session(lower_float(model)), held)
    plan = plan_for(model, calibration)
    version = engines.engine("rknn").runtime_version()
    print(f"machine: {machine()}; rknn-toolkit2 {version}; simulated\n")
    print(
        f"  {'':42}{'compile s':>10}{'of CPU':>8}{'MB':>8}{'mean':>9}{'min':>9}{'on NPU':>8}",
        flush=True,
    )
    rows = {}
    for name in arguments.targets:
        board = replace(load(name), lengths=(LENGTH,))
        for variant in arguments.variants:
            lowered = _lowered(variant, model, board, plan, calibration)
            row = rows[f"{name}, {variant}"] = _row(lowered, board, held, expected)
            figures = row.get("error") or (
                f"{row['compile_s']:10.1f}{row['cpu_s']:8.1f}{row['mb']:8.2f}{row['mean']:9.4f}{row['min']:9.4f}"
                f"{row['npu_share_ops']:8.1%}"
            )
            print(f"  {name}, {variant:30}{figures}", flush=True)
            for line in row.get("said", []):
                print(f"      {line}", flush=True)
    save(arguments.json, {"machine": machine(), "kind": "emulated", "variants": rows})


def _lowered(
    variant: str, model: ir.Model, board: Target, plan: Plan, calibration: list[Feed]
) -> ir.Model:
    """Return a graph as the engine writes it; the naive one has no factor in it."""
    naive = variant == VARIANTS[0]
    board = replace(board, profile="accurate" if variant == VARIANTS[2] else "fast")
    if naive or variant == VARIANTS[3]:
        lowered = lower(model, FLOAT, board)
    else:
        lowered = lower(model, engines.observe(plan, board, model, calibration), board)
    if naive:
        lowered.meta[SAMPLES] = [_padded(feed, lowered) for feed in calibration]
        lowered.metadata_props[PROFILE] = "fast"
    return lowered


def _padded(feed: Feed, model: ir.Model) -> Feed:
    """Return a feed in the fixed shapes, zeros behind, as a user of that quantizer would."""
    return {
        str(v.name): np.pad(
            feed[str(v.name)], [(0, 0), (0, LENGTH - feed[str(v.name)].shape[1])]
        ).astype(v.dtype.numpy() if v.dtype else None)
        for v in model.graph.inputs
    }


def _row(lowered: ir.Model, board: Target, held: Sequence[Feed], expected: Any) -> dict[str, Any]:
    said: list[str] = []
    with tempfile.TemporaryDirectory() as scratch:
        place, start, before = Path(scratch), time.perf_counter(), _cpu_s()
        try:
            names = rknn.write(lowered, place, {})
        except Exception as error:
            return {"error": str(error)}
        seconds, cpu_s = time.perf_counter() - start, _cpu_s() - before
        size = (place / "encoder.rknn").stat().st_size
        _, numbers, compiled = finish_bundle(names, board, place, lambda *_: None)
        answers = rknn.answer_all(place / names[0], held)
    share = next(row["value"] for row in numbers if row["name"] == "npu_share_ops")
    if compiled["on_cpu"]:
        kinds = sorted({row["operator"] for row in compiled["on_cpu"]})
        said.append(f"on the CPU: {len(compiled['on_cpu'])} of {', '.join(kinds)}")
    said += [f"its log: {line}" for line in compiled["explained"]]
    found = accuracy.compare("cosine", answers, expected, held)
    figures = {
        "compile_s": seconds,
        "cpu_s": cpu_s,
        "mb": size / 1e6,
        "mean": found.mean,
        "min": found.min,
    }
    return figures | {"npu_share_ops": share, "said": said}


def _cpu_s() -> float:
    """Return the processor seconds of processes that ended: on a busy machine, these count."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()

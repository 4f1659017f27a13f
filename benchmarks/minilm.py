"""The figures of the README: MiniLM through edgecompile and through onnxruntime's own quantizers.

    make bench        (or: python benchmarks/minilm.py [--json FILE])

All times of one table come from one process that runs the models in turn. Accuracy is measured on
sentences that neither calibration nor the gate has seen. Peers are used at their documented
defaults on the same float model, in the form in which torch exports it.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import quantizers
from running import build, file_bytes, machine, options, save, timed
from sentences import CALIBRATION, HELDOUT, MODEL, SAMPLES, feeds, open_minilm, write_float

from edgecompile.emit import onnxruntime as engine
from edgecompile.evaluate import accuracy
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT
from edgecompile.profile.choose_feeds import resize
from edgecompile.profile.measure_latency import time_in_turn
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.session import session
from edgecompile.target import REFERENCE

LENGTH, REPEATS = 128, 40
PEERS = {
    "dynamic int8": quantizers.dynamic,
    "dynamic, per channel, 7 bit": quantizers.dynamic_best,
    "static int8 (QDQ, default)": quantizers.static,
}


def main() -> None:
    """Run every part and print it."""
    parser = options(__doc__)
    parser.add_argument("--calibrate", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.calibrate:
        calibrate(arguments.calibrate)
        return
    print(f"machine: {machine()}; all measured\n")
    with tempfile.TemporaryDirectory() as scratch:
        found: dict[str, Any] = {"machine": machine()}
        found |= cold_build(Path(scratch))
        found |= against_peers(Path(scratch))
    found |= calibration_cost()
    save(arguments.json, found)


def cold_build(scratch: Path) -> dict[str, Any]:
    """Time `edgecompile --help` and a whole build, each in a process of its own."""
    command = [sys.executable, "-m", "edgecompile"]
    helps = [timed([*command, "--help"]).seconds for _ in range(7)]
    _, ran = build(MODEL, scratch / "dist")
    size = (MODEL / "model.safetensors").stat().st_size
    row = {
        "help_s": statistics.median(helps),
        "build_s": ran.seconds,
        "build_peak_bytes": ran.largest_bytes,
        "build_peak_all_processes_bytes": ran.total_bytes,
    }
    print("cold build for one target")
    print(f"  edgecompile --help  {row['help_s']:.2f} s (wanted: 0.30)")
    print(f"  wall                {ran.seconds:.1f} s (wanted: 15)")
    largest, total = ran.largest_bytes, ran.total_bytes
    print(f"  peak memory         {largest / 1e6:.0f} MB, {largest / size:.1f} x the float model")
    print(f"                      (wanted: 6 x); all its processes together {total / size:.1f} x\n")
    return row


def against_peers(scratch: Path) -> dict[str, Any]:
    """Time and judge float, onnxruntime's quantizers and the artifact."""
    model, encoder = open_minilm()
    models = {"float": write_float(model, scratch / "float")}
    calibration = feeds(encoder, CALIBRATION, SAMPLES)
    for number, (name, quantize) in enumerate(PEERS.items()):
        models[name] = scratch / f"peer{number}.onnx"
        quantize(models["float"], models[name], calibration)
    models["edgecompile"] = scratch / "dist" / f"{MODEL.name}-x86-64" / "model.onnx"

    runners = {name: engine.runner(path, threads=1) for name, path in models.items()}
    held = feeds(encoder, HELDOUT, 256)
    times = time_in_turn(runners, resize(held[0], LENGTH), REPEATS)
    expected = [runners["float"](feed) for feed in held]
    rows = {}
    for name, runner in runners.items():
        found = accuracy.compare("cosine", [runner(f) for f in held], expected, held)
        size = file_bytes(models[name])
        ms = statistics.median(times[name])
        rows[name] = {"ms": ms, "mean": found.mean, "min": found.min, "bytes": size}
    _print_rows(rows)
    ratio = rows["edgecompile"]["ms"] / rows["dynamic int8"]["ms"]
    print(f"  edgecompile / dynamic int8: {ratio:.2f} (wanted: 0.80)\n")
    _print_kernels(models)
    return {"models": rows, "ratio_to_dynamic": ratio}


def _print_rows(rows: dict[str, dict[str, float]]) -> None:
    print(
        f"batch 1, {LENGTH} tokens, 1 thread, default session options, median of {REPEATS} in turn"
    )
    print(f"  {'':34}{'ms':>8}{'x float':>9}{'cosine mean':>13}{'min':>9}{'MB':>7}")
    for name, row in rows.items():
        speed = rows["float"]["ms"] / row["ms"]
        figures = f"{row['mean']:13.4f}{row['min']:9.4f}{row['bytes'] / 1e6:7.1f}"
        print(f"  {name:34}{row['ms']:8.2f}{speed:9.2f}{figures}")


def _print_kernels(models: dict[str, Path]) -> None:
    """Print where the time goes: what limits the ratio."""
    print("where the time goes (onnxruntime's profiler, ms an inference)")
    for name in ("dynamic int8", "edgecompile"):
        kernels = _kernels(models[name])
        matmuls = sum(kernels.pop(k, 0) for k in ("MatMulIntegerToFloat", "DynamicQuantizeMatMul"))
        rest = sorted(kernels.items(), key=lambda item: -item[1])[:6]
        text = ", ".join(f"{op} {ms:.1f}" for op, ms in rest)
        print(
            f"  {name:14} int8 Linears {matmuls:.1f}; the rest {sum(kernels.values()):.1f}: {text}"
        )
    print()


def _kernels(model: Path, runs: int = 20) -> dict[str, float]:
    import onnxruntime as ort

    from edgecompile.session import session_options

    options = session_options(threads=1)
    options.enable_profiling = True
    options.profile_file_prefix = str(model.parent / "trace")
    opened = ort.InferenceSession(model, options, ["CPUExecutionProvider"])
    ids = np.full((1, LENGTH), 1000, np.int64)
    feed = {
        i.name: np.ones_like(ids) if "mask" in i.name else ids % 1000 for i in opened.get_inputs()
    }
    for _ in range(runs):
        opened.run(None, feed)
    totals: dict[str, float] = {}
    for event in json.loads(Path(opened.end_profiling()).read_text(encoding="utf-8")):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            op = event["args"]["op_name"]
            totals[op] = totals.get(op, 0) + event["dur"] / 1e3 / runs
    return totals


def calibration_cost() -> dict[str, Any]:
    """Compare calibration with plain inference: time, and memory at 32 and 256 samples."""
    model, encoder = open_minilm()
    reference = lower(model, FLOAT, REFERENCE)
    calibration = feeds(encoder, CALIBRATION, SAMPLES)
    opened = session(reference)

    def plain() -> None:
        for feed in calibration:
            opened.run(None, dict(feed))

    parts = {
        "plain": plain,
        "calibration": lambda: observe_ranges(reference, calibration),
    }
    seconds: dict[str, list[float]] = {name: [] for name in parts}
    for _ in range(5):
        for name, part in parts.items():
            start = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - start)
    ratio = statistics.median(
        c / p for c, p in zip(seconds["calibration"], seconds["plain"], strict=True)
    )
    peaks = [_calibration_peak(count) for count in (32, 256)]
    print("calibration, opening its session included")
    print(f"  time / plain inference over the same 64 samples  {ratio:.2f} (wanted: 1.5)")
    print(f"  peak memory at 32 and 256 samples  {peaks[0] / 1e6:.0f} and {peaks[1] / 1e6:.0f} MB")
    return {"calibration_x_inference": ratio, "calibration_peak_bytes": peaks}


def _calibration_peak(count: int) -> int:
    return timed([sys.executable, __file__, "--calibrate", str(count)]).largest_bytes


def calibrate(count: int) -> None:
    """Calibrate once, for its memory to be watched."""
    model, encoder = open_minilm()
    observe_ranges(lower(model, FLOAT, REFERENCE), feeds(encoder, CALIBRATION, count))


if __name__ == "__main__":
    main()

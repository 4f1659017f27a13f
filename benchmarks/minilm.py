"""The figures of the README: MiniLM through edgecompile and through onnxruntime's own quantizers.

    make bench        (or: python benchmarks/minilm.py [--json FILE])

All times of one table come from one process that runs the models in turn. Accuracy is measured on
sentences that neither calibration nor the gate has seen. Peers are used at their documented
defaults on the same float model, in the form in which torch exports it.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.data.dataset import data_dir
from edgecompile.data.encoder import Encoder, open_encoder
from edgecompile.data.feed import Feed
from edgecompile.data.kinds.texts import read_texts
from edgecompile.emit import onnxruntime as engine
from edgecompile.evaluate import accuracy
from edgecompile.export.read_model import export, find_source
from edgecompile.passes import passes_of, run
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT
from edgecompile.profile.host import read_host
from edgecompile.profile.measure_latency import resize, time_in_turn
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.session import session
from edgecompile.target import REFERENCE

ROOT = Path(__file__).parents[1]
MODEL = ROOT / "models" / "all-MiniLM-L6-v2"
LENGTH, REPEATS, SAMPLES = 128, 40, 64


def main() -> None:
    """Run every part and print it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures there")
    parser.add_argument("--calibrate", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.calibrate:
        calibrate(arguments.calibrate)
        return
    wanted = arguments.json
    host = read_host()
    vnni = "with" if "vnni" in host.features else "without"
    print(f"machine: {host.cpu}, {host.isa}, {vnni} VNNI, {host.threads} CPUs; all measured\n")
    with tempfile.TemporaryDirectory() as scratch:
        found = {"machine": f"{host.cpu}, {vnni} VNNI, {host.threads} CPUs"}
        found |= cold_build(Path(scratch))
        found |= against_peers(Path(scratch))
    found |= calibration_cost()
    if wanted:
        wanted.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def cold_build(scratch: Path) -> dict[str, Any]:
    """Time `edgecompile --help` and a whole build, each in a process of its own."""
    command = [sys.executable, "-m", "edgecompile"]
    helps = [_timed([*command, "--help"])[0] for _ in range(7)]
    build = [*command, "build", str(MODEL), "-t", "x86-64", "-o", str(scratch / "dist")]
    seconds, largest, total = _timed(build)
    size = (MODEL / "model.safetensors").stat().st_size
    row = {
        "help_s": statistics.median(helps),
        "build_s": seconds,
        "build_peak_bytes": largest,
        "build_peak_all_processes_bytes": total,
    }
    print("cold build for one target")
    print(f"  edgecompile --help  {row['help_s']:.2f} s (wanted: 0.30)")
    print(f"  wall                {row['build_s']:.1f} s (wanted: 15)")
    print(f"  peak memory         {largest / 1e6:.0f} MB, {largest / size:.1f} x the float model")
    print(f"                      (wanted: 6 x); all its processes together {total / size:.1f} x\n")
    return row


def against_peers(scratch: Path) -> dict[str, Any]:
    """Time and judge float, onnxruntime's quantizers and the artifact."""
    source = find_source(MODEL)
    model = export(source)
    *_, (_, plain) = run(passes_of("lower/exchange"), model)
    (scratch / "float").mkdir()
    (file, *_) = engine.write(plain, scratch / "float", {}, one_file_bytes=0)
    encoder = open_encoder(MODEL, model, 512)
    models = {"float": scratch / "float" / file}
    models |= _peers(scratch, models["float"], _feeds(encoder, "docs.jsonl", SAMPLES))
    models["edgecompile"] = scratch / "dist" / f"{MODEL.name}-x86-64" / "model.onnx"

    runners = {name: engine.runner(path, threads=1) for name, path in models.items()}
    held = _feeds(encoder, "heldout.jsonl", 256)
    times = time_in_turn(runners, resize(held[0], LENGTH), REPEATS)
    expected = [runners["float"](feed) for feed in held]
    rows = {}
    for name, runner in runners.items():
        found = accuracy.compare("cosine", [runner(f) for f in held], expected, held)
        size = sum(p.stat().st_size for p in models[name].parent.glob(f"{models[name].name}*"))
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


def _peers(scratch: Path, model: Path, feeds: list[Feed]) -> dict[str, Path]:
    """Quantize with onnxruntime: dynamic, dynamic at its best, static."""
    import logging

    from onnxruntime.quantization import CalibrationDataReader, quantize_dynamic, quantize_static

    logging.disable(logging.WARNING)
    paths = {
        "dynamic int8": scratch / "dynamic.onnx",
        "dynamic, per channel, 7 bit": scratch / "best.onnx",
        "static int8 (QDQ, default)": scratch / "static.onnx",
    }

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        rows: Iterator[Feed] = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else dict(row)

    dynamic, best, static = paths.values()
    quantize_dynamic(model, dynamic)
    quantize_dynamic(model, best, per_channel=True, reduce_range=True)
    quantize_static(model, static, Reader())
    return paths


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
    source = find_source(MODEL)
    model = export(source)
    reference = lower(model, FLOAT, REFERENCE)
    feeds = _feeds(open_encoder(MODEL, model, 512), "docs.jsonl", 64)
    opened = session(reference)

    def plain() -> None:
        for feed in feeds:
            opened.run(None, dict(feed))

    parts: dict[str, Callable[[], object]] = {
        "plain": plain,
        "calibration": lambda: observe_ranges(reference, feeds),
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
    return _timed([sys.executable, __file__, "--calibrate", str(count)])[1]


def calibrate(count: int) -> None:
    """Calibrate once, for its memory to be watched."""
    source = find_source(MODEL)
    model = export(source)
    encoder = open_encoder(MODEL, model, 512)
    observe_ranges(lower(model, FLOAT, REFERENCE), encoder(_texts("docs.jsonl", count)))


def _texts(name: str, count: int) -> list[str]:
    return list(islice(read_texts(data_dir() / name), count))


def _feeds(encoder: Encoder, name: str, count: int) -> list[Feed]:
    return list(encoder(_texts(name, count)))


def _timed(command: list[str]) -> tuple[float, int, int]:
    """Run a command; return its seconds, and the peak memory of its largest process and of all."""
    start = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, cwd=ROOT)
    largest, total = 0, 0
    while process.poll() is None:
        sizes = list(_resident_bytes(process.pid))
        largest, total = max(largest, *sizes, 0), max(total, sum(sizes))
        time.sleep(0.01)
    seconds = time.perf_counter() - start
    if process.returncode:
        sys.exit(process.stderr.read().decode() if process.stderr else "failed")
    return seconds, largest, total


def _resident_bytes(pid: int) -> Iterator[int]:
    """Yield the resident bytes of a process and of its children."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        yield sum(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="utf-8").split():
                yield from _resident_bytes(int(child))
    except OSError:
        return  # it has just ended


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Check this bundle on this machine: python smoke.py

Needs Python 3.9 or newer (3.10 for .tflite), numpy and the engine's runtime, and nothing else; what
is missing is named with its `pip install`. It verifies the files' hashes, runs the golden inputs,
compares with the float model's answers, measures latency, and writes measured.json. Exit code 0:
all is well. 1: something is not, and the line says what. runtime.py opens the artifact.
"""

import argparse
import hashlib
import json
import os
import platform
import shlex
import subprocess
import sys
import time
from importlib import util
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
DRIFT = {"cosine": 0.005, "agreement": 0.07, "next-token": 0.07, "signal": 0.05}
ARGMAX = ("agreement", "next-token")
"""How far this machine's accuracy may lie below the build's: other CPUs round otherwise."""


def fail(message):
    """Print why, and stop."""
    print(f"FAIL  {message}")
    sys.exit(1)


def load(name):
    """Return a program of this bundle as a module: python -I leaves its folder out."""
    sys.dont_write_bytecode = True  # nothing is added to the bundle
    spec = util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def check_python(engine):
    """Import what is needed, or say how to get it."""
    program = load("runtime")
    try:
        import numpy

        return numpy, program.Runtime()
    except ImportError as error:
        what = f"{error.name} is missing here" if error.name else f"{engine} does not load: {error}"
        fail(f"{what}: pip install {shlex.join(program.PACKAGES)}")


def check_files(manifest):
    """Compare each file with the hash in the manifest."""
    for name, expected in manifest["files"].items():
        path, inside = FOLDER / name, Path(name)
        if inside.is_absolute() or ".." in inside.parts or not path.is_file():
            fail(f"files: {name} is missing")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            fail(f"files: {name} is not the file that was built; copy the bundle again")
    print(f"ok    files: {len(manifest['files'])} hashes match")


def check_runtime(manifest, engine, version):
    """Compare the runtime's version with the oldest that the artifact takes."""
    oldest = manifest["runtime"].lstrip(">=")
    numbers = [[int(n) for n in v.split(".")[:2]] for v in (version, oldest)]
    if numbers[0] < numbers[1]:
        package = load("runtime").PACKAGES[-1]
        fail(f"runtime: {engine} {version} is too old: pip install '{package}>={oldest}'")
    print(f"ok    runtime: {engine} {version} ({manifest['runtime']} needed)")


def open_artifact(runtime, manifest, threads):
    """Return a function from a feed to the outputs by name."""
    try:
        return runtime.open(str(FOLDER / manifest["artifact"]), threads)
    except Exception as error:
        engine = f"{manifest['engine']} {runtime.version}"
        return fail(f"runtime: {engine} does not load the artifact: {error}")


def rows(np, array, mask):
    """[1, S, C] -> the rows that are not padding; [1, C] stays."""
    if array.ndim == 3 and mask is not None and mask.shape == array.shape[:2]:
        return array[mask != 0].astype(np.float64)
    width = array.shape[-1] if array.ndim else 1
    return array.reshape(-1, width).astype(np.float64)


def score(np, metric, a, b):
    """Return how near the rows of two outputs are, 1 being the same."""
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -1.0
    if metric in ARGMAX:
        return float((a.argmax(1) == b.argmax(1)).mean())
    length = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    cosines = (a * b).sum(1) / np.maximum(length, 1e-30)
    return float(np.where((a == b).all(1), 1.0, cosines).mean())


def signal(np, pairs):
    """Return R^2 over all samples: 1 - ||a - b||^2 / ||b - mean(b)||^2."""
    if len({truth.shape[1] for _, truth in pairs}) > 1:  # the width follows the text's length
        pairs = [(a.reshape(-1, 1), b.reshape(-1, 1)) for a, b in pairs]
    a, b = (np.concatenate([pair[side] for pair in pairs]) for side in (0, 1))
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        return -1.0
    lost, whole = np.square(a - b).sum(), np.square(b - b.mean(0)).sum()
    if whole <= 1e-12 * np.square(b).sum():
        whole = np.square(b).sum()
    return max(1.0 - float(lost / whole) if whole > 0 else float(lost == 0), -1.0)


def judge(np, metric, samples, names):
    """Return (mean, min, signal) of samples, each a list of (answer, truth) rows by output."""
    argmax = metric in ARGMAX
    metrics = [
        "cosine" if argmax and "logits" in names and n != "logits" else metric for n in names
    ]
    by_output = list(zip(*samples))
    shared = min(signal(np, pairs) for pairs in by_output)
    if metric == "signal":
        return shared, shared, shared
    scores = [min(score(np, m, a, b) for m, (a, b) in zip(metrics, s)) for s in samples]
    return sum(scores) / len(scores), min(scores), shared


def check_golden(np, run, manifest, golden):
    """Run the golden inputs and compare with the float model's answers."""
    metric, built, samples = manifest["accuracy"]["metric"], manifest["golden"], []
    names = sorted(golden[0]["out"])
    for sample in golden:
        mask = sample["in"].get("attention_mask")
        answers = run(sample["in"])
        pairs = [(answers[name], sample["out"][name]) for name in names]
        samples.append([tuple(rows(np, x, mask) for x in pair) for pair in pairs])
    mean, worst, shared = judge(np, metric, samples, names)
    line = f"accuracy: {metric} to float {mean:.4f} mean, {worst:.4f} min over {len(samples)}"
    for name, value, before in (
        (metric, mean, built["mean"]),
        ("signal", shared, built["signal"]),
    ):
        floor = before - DRIFT[name]
        if not value >= floor:
            fail(f"{line}; {name} {value:.4f} is below {floor:.4f}, the build saw {before:.4f}")
    print(f"ok    {line} samples (the build saw {built['mean']:.4f})")
    return {"metric": metric, "mean": mean, "min": worst, "signal": shared, "samples": len(samples)}


def read_golden(np, manifest):
    """Read golden.npz: arrays named NNN/in/NAME and NNN/out/NAME."""
    samples = {}
    with np.load(FOLDER / manifest["golden"]["file"], allow_pickle=False) as archive:
        for key in archive.files:
            number, side, name = key.split("/", 2)
            samples.setdefault(number, {"in": {}, "out": {}})[side][name] = archive[key]
    return [samples[number] for number in sorted(samples)]


def feeds(np, golden, tokens):
    """Return what to time: the longest golden sample, its token rows [1, S] as long as wished."""
    longest = max((s["in"] for s in golden), key=lambda f: sum(a.size for a in f.values()))
    if not tokens or any(name.startswith("past_key_values") for name in longest):
        return [longest]
    return [
        {name: np.resize(a, (1, n)) if a.ndim == 2 else a for name, a in longest.items()}
        for n in tokens
    ]


def measure(np, runtime, manifest, feed):
    """Time a feed, on one thread and on all."""
    shape = {name: list(array.shape) for name, array in feed.items()}
    cache = [name for name in shape if name.startswith("past_key_values")]
    shown = {name: dims for name, dims in shape.items() if name not in cache[1:]}
    found = []
    for threads in sorted({1, os.cpu_count() or 1}):
        run = open_artifact(runtime, manifest, threads)
        times = []
        stop = time.perf_counter() + 10
        for turn in range(32):
            start = time.perf_counter()
            run(feed)
            times.append((time.perf_counter() - start) * 1e3)
            if turn >= 6 and time.perf_counter() > stop:
                break
        p50, p90 = (float(np.percentile(times[2:], p)) for p in (50, 90))
        print(f"ok    latency: {p50:.2f} ms median, {p90:.2f} ms p90, {threads} thread(s), {shown}")
        found.append(
            {"threads": threads, "shape": shape, "p50_ms": p50, "p90_ms": p90, "kind": "measured"}
        )
    return found


def measure_energy(runtime, manifest, feed, source):
    """Measure joules of one inference on one thread; None where no meter is found."""
    watts = load("watts")
    try:
        meter = watts.find(source)
        if meter is None:
            print(f"ok    energy: not measured ({source}: no meter that can be read here)")
            return None
        run = open_artifact(runtime, manifest, 1)
        run(feed)
        found = watts.measure(meter, lambda: run(feed))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        fail(f"energy: {source}: {error}")
    print(
        f"ok    energy: {found['joules'] * 1e3:.3g} mJ an inference,"
        f" {found['watts']:.2f} W at work, {found['idle_watts']:.2f} W idle ({found['meter']})"
    )
    return dict(found, threads=1, shape={name: list(array.shape) for name, array in feed.items()})


def cpu_name():
    """Return the CPU's or board's name."""
    for path, key in (("/proc/device-tree/model", ""), ("/proc/cpuinfo", "model name")):
        try:
            text = Path(path).read_text(errors="replace").strip("\0\n ")
        except OSError:
            continue
        if not key:
            return text
        for line in text.splitlines():
            if line.startswith(key):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def write(path, text):
    """Write a file whole or not at all; what is there and no file, a pipe or device, is kept."""
    replaces = path.is_file() or not path.exists()
    place = path.with_name(path.name + ".tmp") if replaces else path
    try:
        place.write_text(text, encoding="utf-8")
        if replaces:
            os.replace(place, path)
    except OSError as error:
        fail(f"result: all checks passed, but {path} cannot be written: {error.strerror}")


def read_arguments():
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description="Check this bundle on this machine.")
    told = "measure no latency, and run on one thread: for emulators, whose time means nothing"
    parser.add_argument("--once", action="store_true", help=told)
    told = "where the result goes, instead of measured.json beside this program"
    parser.add_argument("--result", type=Path, default=FOLDER / "measured.json", help=told)
    parser.add_argument(
        "--watts", default="off", metavar="METER",
        help="measure energy: auto, pmic, ina219, rapl, /dev/tty..., command:... (see watts.py)",
    )  # fmt: skip
    parser.add_argument(
        "--tokens", default=[], metavar="N,N",
        type=lambda text: [int(number) for number in text.split(",")],
        help="lengths of text to time, by default that of the longest golden sample",
    )  # fmt: skip
    return parser.parse_args()


def main():
    """Run every check; the first that fails ends it."""
    asked = read_arguments()
    try:
        manifest = json.loads((FOLDER / "manifest.json").read_text(encoding="utf-8"))
        manifest["files"], manifest["accuracy"], manifest["golden"], manifest["runtime"]
        engine = str(manifest["engine"])
    except (OSError, ValueError, KeyError, TypeError) as error:
        fail(f"files: manifest.json cannot be read ({error}); copy the bundle again")
    check_files(manifest)
    np, runtime = check_python(engine)
    check_runtime(manifest, engine, runtime.version)
    golden = read_golden(np, manifest)
    run = open_artifact(runtime, manifest, 1 if asked.once else 0)
    accuracy = check_golden(np, run, manifest, golden)
    if runtime.emulates:
        print("ok    latency: not measured: this machine emulates the NPU")
    timed = [] if asked.once or runtime.emulates else feeds(np, golden, asked.tokens)
    latency = [row for feed in timed for row in measure(np, runtime, manifest, feed)]
    energy = None
    if timed and asked.watts != "off":
        energy = measure_energy(runtime, manifest, timed[-1], asked.watts)
    result = {
        "artifact_sha256": manifest["files"][manifest["artifact"]],
        "target": manifest["target"],
        "cpu": cpu_name(),
        "isa": platform.machine(),
        "runtime": f"{engine} {runtime.version}",
        "accuracy": accuracy,
        "latency": latency,
        "energy": energy,
    }
    write(asked.result, json.dumps(result, indent=2) + "\n")
    print(f"ok    all checks passed on {result['cpu']}; wrote {asked.result.name}")


if __name__ == "__main__":
    main()

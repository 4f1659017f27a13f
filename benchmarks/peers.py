"""MiniLM in int8 by everybody: each peer at its best documented settings, and edgecompile.

    make bench-peers    (or: python benchmarks/peers.py [--json FILE])

Each peer works in an environment of its own (locks/peers/, made on first use), from the same float
.onnx, exported by torch, and the same 64 sentences. Then one process runs all models in turn.
Accuracy is the cosine to float on 256 sentences that none has seen. A peer that fails is a row too.
"""

import json
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from environment import environment
from peer.request import write_samples
from running import ROOT, file_bytes, machine, options, run, save
from sentences import CALIBRATION, HELDOUT, MODEL, SAMPLES, feeds, open_minilm

from edgecompile.host import read_host

LENGTH, REPEATS, LIMIT_S = 128, 40, 600
HERE = Path(__file__).parent
QUIET = {
    "PYTHONPATH": f"{HERE}",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "OLIVE_DISABLE_TELEMETRY": "1",
    "NNCF_CI": "1",  # as in CI: no telemetry
}
"""Nothing is fetched, nothing is reported home."""

BEST = """best: 7-bit weights, a scale a channel; static, best: Linears only, ranges by entropy;
optimum: its configuration for this CPU; NNCF: transformer preset (SmoothQuant), bias correction"""

Row = dict[str, Any]


def peers() -> dict[str, tuple[str, str]]:
    """Return each row's environment, and the way that its script quantizes."""
    cpu = "avx512_vnni" if "vnni" in read_host().features else "avx2"
    return {
        "onnxruntime dynamic": ("onnxruntime", "dynamic"),
        "onnxruntime dynamic, best": ("onnxruntime", "dynamic_best"),
        "onnxruntime static": ("onnxruntime", "static"),
        "onnxruntime static, best": ("onnxruntime", "static_best"),
        "onnxruntime static, percentile": ("onnxruntime", "static_percentile"),
        "Olive dynamic": ("olive", "dynamic"),
        "Olive dynamic, best": ("olive", "dynamic_best"),
        "Olive static": ("olive", "static"),
        "Olive static, best": ("olive", "static_best"),
        f"optimum dynamic, {cpu}": ("optimum", f"dynamic_{cpu}"),
        f"optimum static, {cpu}": ("optimum", f"static_{cpu}"),
        "OpenVINO, int8 weights": ("openvino", "compress"),
        "OpenVINO + NNCF": ("openvino", "static"),
    }


def main() -> None:
    """Quantize in turn, run together, print."""
    arguments = options(__doc__).parse_args()
    print(f"machine: {machine()}; all measured")
    python = environment("openvino")
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        _, encoder = open_minilm()
        data, held = scratch / "samples.npz", scratch / "held.npz"
        write_samples(data, feeds(encoder, CALIBRATION, SAMPLES))
        write_samples(held, feeds(encoder, HELDOUT, 256))
        model = export_float(scratch / "float")
        rows: dict[str, Row] = {
            "float": {"engine": "onnxruntime", "path": model},
            "float in OpenVINO": {"engine": "openvino", "path": model},
        }
        for number, (peer, (home, way)) in enumerate(peers().items()):
            rows[peer] = ask(home, way, model, data, scratch / f"{number}")
        for engine in ("onnxruntime", "openvino"):
            target = "x86-64" if engine == "onnxruntime" else f"x86-64:{engine}"
            rows[f"edgecompile -t {target}"] = ours(python, target, scratch / f"dist-{engine}")
        for peer, found in run_all(python, rows, held).items():
            rows[peer] |= found
        for row in rows.values():
            if "path" in row:
                row["bytes"] = file_bytes(row.pop("path"))
    print_rows(rows)
    save(arguments.json, {"machine": machine(), "models": rows})


def export_float(folder: Path) -> Path:
    """Export the float model with torch; optimum reads its config beside it."""
    folder.mkdir()
    command = [environment("optimum"), HERE / "peer" / "export_float.py", MODEL]
    ran = run([*command, folder / "model.onnx"], LIMIT_S, **QUIET)
    if ran.code:
        raise SystemExit(ran.errors)
    shutil.copy(MODEL / "config.json", folder)
    return folder / "model.onnx"


def ask(home: str, way: str, model: Path, data: Path, folder: Path) -> Row:
    """Let a peer quantize; return where its model is and what it took, or its error."""
    try:
        python = environment(home)
    except RuntimeError as error:
        return {"error": last_line(str(error))}
    ran = run(
        [python, HERE / "peer" / f"use_{home}.py", way, model, data, folder], LIMIT_S, **QUIET
    )
    found = [*folder.glob("model.onnx"), *folder.glob("model.xml")]
    if ran.code or not found:
        return {"error": last_line(ran.errors) or f"no model within {LIMIT_S} s"}
    seconds = float(ran.output.rpartition("seconds ")[2])
    engine = "openvino" if home == "openvino" else "onnxruntime"
    took = {"quantize_s": seconds, "wall_s": ran.seconds, "peak_bytes": ran.total_bytes}
    return {"engine": engine, "path": found[0]} | took


def ours(python: Path, target: str, output: Path) -> Row:
    """Build for a target, in the same environment; quantizing is to calibrate, decide and edit."""
    command = [python, "-m", "edgecompile", "build", MODEL, "-t", target, "-o", output]
    ran = run(command, LIMIT_S, **QUIET | {"PYTHONPATH": f"{ROOT}"})
    if ran.code:
        return {"error": last_line(ran.errors)}
    (path,) = output.glob("*/manifest.json")
    manifest = json.loads(path.read_text(encoding="utf-8"))
    stages = ("quantize", "lower", "emit")
    seconds = sum(s["seconds"] for s in manifest["steps"] if s["stage"].startswith(stages))
    took = {"quantize_s": seconds, "wall_s": ran.seconds, "peak_bytes": ran.total_bytes}
    return {"engine": manifest["engine"], "path": path.parent / manifest["artifact"]} | took


def run_all(python: Path, rows: dict[str, Row], held: Path) -> dict[str, Row]:
    """Time and judge all models in one process."""
    models = {n: (row["engine"], str(row["path"])) for n, row in rows.items() if "path" in row}
    asked = {"models": models, "data": str(held), "length": LENGTH, "repeats": REPEATS}
    done = subprocess.run(
        [python, HERE / "peer" / "time_all.py"], input=json.dumps(asked), text=True,
        stdout=subprocess.PIPE, check=True, env=os.environ | {"PYTHONPATH": f"{ROOT}"},
    )  # fmt: skip
    return dict(json.loads(done.stdout))


def last_line(text: str) -> str:
    """Return the last line that names an error, or that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line for line in lines if re.search(r"(Error|Exception): ", line)]
    return (errors or lines or [""])[-1]


def print_rows(rows: dict[str, Row]) -> None:
    """Print the table, failures in it."""
    print(f"batch 1, {LENGTH} tokens, 1 thread, default options, median of {REPEATS} in turn;")
    print("quantize: 64 samples, imports left out; peak memory: of all its processes")
    print(BEST)
    print(
        f"  {'':31}{'ms':>7}{'x float':>9}{'cosine mean':>13}{'min':>8}{'MB':>7}"
        f"{'quantize s':>12}{'wall s':>8}{'peak MB':>9}"
    )
    for name, row in rows.items():
        if "error" in row:
            print(f"  {name:31}failed: {row['error'][:120]}")
            continue
        figures = f"{row['ms']:7.1f}{rows['float']['ms'] / row['ms']:9.2f}{row['mean']:13.4f}"
        figures += f"{row['min']:8.4f}{row['bytes'] / 1e6:7.1f}"
        if "wall_s" in row:
            figures += (
                f"{row['quantize_s']:12.1f}{row['wall_s']:8.1f}{row['peak_bytes'] / 1e6:9.0f}"
            )
        print(f"  {name:31}{figures}")


if __name__ == "__main__":
    main()

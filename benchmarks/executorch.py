"""What the executorch engine gives for MiniLM, beside ExecuTorch's own quantizer for XNNPACK.

    python benchmarks/executorch.py

Ids to embedding, batch 1, any length up to 128 tokens, held-out sentences. Each program is executed
by ExecuTorch's own runtime on this host, one thread, and timed on 128 tokens in turn, so that a
busy machine slows all alike. All quantizers have the same float graph and calibration texts.
"""

import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from running import ROOT, machine, options, save
from sentences import CALIBRATION, HELDOUT, feeds, open_minilm

from edgecompile.data.feed import Feed
from edgecompile.emit import executorch
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
from edgecompile.toolchain.graph_file import write_graph
from edgecompile.toolchain.venv import open_venv
from edgecompile.toolchain.worker import run_worker

LENGTH, CALIBRATE, REPEATS, ROUNDS = 128, 32, 10, 3
PEER = ROOT / "benchmarks" / "peer" / "use_executorch.py"


def main() -> None:
    """Quantize, write, execute, judge, time in turn, print."""
    parser = options(__doc__)
    parser.add_argument("--samples", type=int, default=32, help="held-out sentences")
    arguments = parser.parse_args()
    model, encoder = open_minilm(LENGTH)
    calibration = feeds(encoder, CALIBRATION, CALIBRATE)
    held = feeds(encoder, HELDOUT, arguments.samples)
    reference = lower_float(model)
    expected = answer(session(reference), held)
    board = replace(load("android-executorch"), lengths=(LENGTH,))
    plan = decide_plan(model, observe_ranges(reference, calibration))
    fitted = observe_hessians(reference, plan, calibration)
    plain = lower(model, FLOAT, board)

    def ours(lowered: ir.Model) -> Callable[[Path], Path]:
        return lambda folder: folder / executorch.write(lowered, folder, {})[0]

    makers = {
        "float": ours(plain),
        "ExecuTorch's own, static int8": lambda f: _peer(plain, calibration, f, dynamic=False),
        "ExecuTorch's own, dynamic int8": lambda f: _peer(plain, calibration, f, dynamic=True),
        "edgecompile": ours(lower(model, plan, board)),
        "edgecompile, gptq": ours(lower(model, fitted, board)),
    }
    version = engine("executorch").runtime_version()
    print(f"machine: {machine()}; executorch {version}; measured, one thread\n")
    print(f"  {'':32}{'write s':>9}{'MB':>8}{'mean':>9}{'min':>9}", flush=True)
    rows: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for number, (name, make) in enumerate(makers.items()):
            folder = Path(scratch) / str(number)
            folder.mkdir()
            rows[name] = shown = _row(make, folder, held, expected)
            print(
                f"  {name:32}{shown['write_s']:9.1f}{shown['mb']:8.2f}"
                f"{shown['mean']:9.4f}{shown['min']:9.4f}",
                flush=True,
            )
        _time(rows, held)
    print(f"\n  {LENGTH} tokens, ms, the least of {ROUNDS * REPEATS} runs:")
    for name, row in rows.items():
        print(f"  {name:32}{row['ms']:9.1f}")
        del row["artifact"]
    save(arguments.json, {"machine": machine(), "kind": "measured", "variants": rows})


def _peer(plain: ir.Model, calibration: Sequence[Feed], folder: Path, *, dynamic: bool) -> Path:
    """Let ExecuTorch's quantizer round the float graph."""
    write_graph(plain, folder)
    arrays = {f"{n:06}/{k}": a for n, feed in enumerate(calibration) for k, a in feed.items()}
    np.savez(folder / "feeds.npz", **arrays)
    types = {str(v.name): "int64" for v in plain.graph.inputs}
    names = [str(v.name) for v in plain.graph.outputs]
    request = {
        "writer": str(executorch.WORKERS / "write_worker.py"), "program": executorch.ARTIFACT,
        "longest": LENGTH, "dynamic": dynamic, "feeds": "feeds.npz",
        "metadata": {
            executorch.INPUTS: json.dumps(types), "edgecompile.outputs": json.dumps(names),
        },
    }  # fmt: skip
    python = open_venv(executorch.TOOLCHAIN, lambda _stage, _line: None)
    run_worker(
        python, PEER, request, folder, time_limit_s=1800,
        memory_limit_bytes=executorch.MEMORY_LIMIT_BYTES,
    )  # fmt: skip
    return folder / executorch.ARTIFACT


def _row(
    make: Callable[[Path], Path], folder: Path, held: Sequence[Feed], expected: Any
) -> dict[str, Any]:
    start = time.perf_counter()
    artifact = make(folder)
    seconds = time.perf_counter() - start
    answers = executorch.answer_all(artifact, held)
    found = accuracy.compare("cosine", answers, expected, held)
    size = artifact.stat().st_size / 1e6
    return {
        "write_s": seconds, "mb": size, "mean": found.mean, "min": found.min, "ms": np.inf,
        "artifact": artifact,
    }  # fmt: skip


def _time(rows: dict[str, dict[str, Any]], held: Sequence[Feed]) -> None:
    """Time all programs in turn, some rounds; keep each one's least."""
    feed = {name: np.resize(array, (1, LENGTH)) for name, array in held[0].items()}
    for _ in range(ROUNDS):
        for row in rows.values():
            told = executorch.execute(row["artifact"], [feed], repeats=REPEATS, threads=1)
            row["ms"] = min(row["ms"], *told["times_ms"][0])


if __name__ == "__main__":
    main()

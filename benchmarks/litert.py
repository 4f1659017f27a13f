"""What the litert engine gives for MiniLM, beside onnxruntime: size, write time, cosine, time.

    python benchmarks/litert.py

One sentence of 128 tokens, one thread, all in turn in one process; cosine on the held-out
sentences of up to 128 tokens, padded to 128.
"""

import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir
from running import machine, options, save
from sentences import CALIBRATION, HELDOUT, SAMPLES, feeds, open_minilm

from edgecompile.emit import litert, onnxruntime
from edgecompile.engines import engine
from edgecompile.evaluate import accuracy
from edgecompile.graph import linears
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT, Plan
from edgecompile.profile.choose_feeds import resize
from edgecompile.profile.measure_latency import time_in_turn
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.target import REFERENCE, Target, load

LENGTH, REPEATS, HELD = 128, 40, 80


def main() -> None:
    """Lower, write, time, judge, print."""
    arguments = options(__doc__).parse_args()
    print(f"machine: {machine()}; LiteRT {litert.runtime_version()}; all measured\n")
    model, encoder = open_minilm()
    held = [f for f in feeds(encoder, HELDOUT, 256) if f["input_ids"].shape[1] <= LENGTH][:HELD]
    apart = Plan(kept_float={linear.name: "" for linear in linears(model.graph)})
    seen = observe_ranges(
        lower(model, apart, REFERENCE), feeds(encoder, CALIBRATION, SAMPLES), outputs=True
    )
    plan = decide_plan(model, seen, outputs=True)
    board = replace(load("x86-64:litert"), lengths=(LENGTH,))
    variants = {
        "float, onnxruntime": (FLOAT, REFERENCE),
        "int8, onnxruntime": (plan, load("x86-64-vnni")),
        "float": (FLOAT, board),
        "all static int8": (plan, board),
        "FFN output dynamic": (_dynamic(plan, ".intermediate.act"), board),
        "all dynamic": (_dynamic(plan, ""), board),
        "all static, 4 lengths": (plan, replace(board, lengths=(16, 64, LENGTH, 512))),
    }
    with tempfile.TemporaryDirectory() as scratch:
        rows = {n: _row(model, p, b, Path(scratch) / n) for n, (p, b) in variants.items()}
        runners = {n: engine(b.engine).runner(_file(Path(scratch) / n, b), 1)
                   for n, (_, b) in variants.items()}  # fmt: skip
        times = time_in_turn(runners, resize(held[0], LENGTH), REPEATS)
        expected = [runners["float, onnxruntime"](feed) for feed in held]
        print(f"  {'':24}{'write s':>8}{'MB':>8}{'mean':>9}{'min':>9}{'ms':>8}")
        for name, runner in runners.items():
            found = accuracy.compare("cosine", [runner(f) for f in held], expected, held)
            rows[name] |= {"mean": found.mean, "min": found.min}
            rows[name]["ms"] = statistics.median(times[name])
            write_s, mb, mean, least, ms = rows[name].values()
            print(f"  {name:24}{write_s:8.2f}{mb:8.2f}{mean:9.4f}{least:9.4f}{ms:8.2f}")
    save(arguments.json, {"machine": machine(), "variants": rows})


def _dynamic(plan: Plan, tensors: str) -> Plan:
    """Put the readers of some tensors on the dynamic rung."""
    raised = {
        name: replace(a, dynamic="tried") if name.endswith(tensors) else a
        for name, a in plan.activations.items()
    }
    return replace(plan, activations=raised)


def _row(model: ir.Model, plan: Plan, board: Target, folder: Path) -> dict[str, float]:
    folder.mkdir()
    lowered, start = lower(model, plan, board), time.process_time()
    engine(board.engine).write(lowered, folder, {})
    seconds = time.process_time() - start
    return {"write_s": seconds, "mb": _file(folder, board).stat().st_size / 1e6}


def _file(folder: Path, board: Target) -> Path:
    return folder / (litert.ARTIFACT if board.engine == "litert" else onnxruntime.ARTIFACT)


if __name__ == "__main__":
    main()

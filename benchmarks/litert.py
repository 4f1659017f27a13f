"""MiniLM as .tflite: our int8 variants beside ai-edge-quantizer's, onnxruntime's and float.

    python benchmarks/litert.py [--json FILE]

One sentence of 128 tokens, one thread, all in turn in one process; compared by CPU time, which
other programs disturb less. Cosine on held-out sentences of up to 128 tokens, padded to 128.
ai-edge-quantizer works in an environment of its own (locks/peers/), on our float .tflite and the
same calibration texts: it takes it as it is. Its static recipe rounds the scores with the mask in
them, whose -10,000 leaves no steps for the rest.
"""

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from environment import environment
from peer.request import write_samples
from running import machine, options, run, save
from sentences import CALIBRATION, HELDOUT, SAMPLES, feeds, open_minilm

from edgecompile.emit import litert, onnxruntime
from edgecompile.engines import engine
from edgecompile.evaluate import accuracy
from edgecompile.graph import FloatArray, linears
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT, Plan
from edgecompile.profile.choose_feeds import resize
from edgecompile.profile.measure_latency import time_in_turn
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.target import REFERENCE, Target, load

LENGTH, REPEATS, HELD, LIMIT_S = 128, 60, 80, 600
HERE = Path(__file__).parent
TRUTH, STATIC, HYBRID = "float, onnxruntime", "all static int8", "all hybrid"
PEER, PEER_STATIC = "ai-edge-quantizer dynamic", "ai-edge-quantizer static"
TIME = "CPU time / that of ai-edge-quantizer dynamic"

Feed = Mapping[str, FloatArray]
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """A figure that is wanted of a variant, and whether the least or the most is stated."""

    variant: str
    key: str
    bound: float
    most: bool = False

    def line(self, rows: Mapping[str, Row]) -> str:
        """Say what is wanted and what is."""
        found = rows[self.variant].get(self.key)
        if found is None:
            return f"wanted: {self.variant}, {self.key}: no figure: {rows[self.variant]['error']}"
        holds = found <= self.bound if self.most else found >= self.bound
        word = "at most" if self.most else "at least"
        verdict = "" if holds else "   MISSED"
        return f"wanted: {self.variant}, {self.key} {word} {self.bound:g}: {found:.4g}{verdict}"


WISHES = (
    Wish(HYBRID, TIME, 1.05, most=True),
    Wish(HYBRID, "mean", 0.998),
    Wish(HYBRID, "min", 0.997),
    Wish(STATIC, "mean", 0.9975),
    Wish(STATIC, "min", 0.995),
    Wish(STATIC, "MB", 23.6, most=True),
    Wish(STATIC, "write s", 1.0, most=True),
    Wish(STATIC, "peak / size", 4.0, most=True),
)


def main() -> None:
    """Lower, write, time, judge, print."""
    arguments = options(__doc__).parse_args()
    print(f"machine: {machine()}; LiteRT {litert.runtime_version()}; all measured\n")
    model, encoder = open_minilm()
    held = [f for f in feeds(encoder, HELDOUT, 256) if f["input_ids"].shape[1] <= LENGTH][:HELD]
    calibration = feeds(encoder, CALIBRATION, SAMPLES)
    plan = plan_for(model, calibration)
    board = load("x86-64:litert")
    board = replace(board, lengths=(LENGTH,), forms=replace(board.forms, linear="matmul"))
    variants = {
        TRUTH: (FLOAT, REFERENCE),
        "int8, onnxruntime": (plan, load("x86-64-vnni")),
        "float": (FLOAT, board),
        STATIC: (plan, board),
        "FFN output hybrid": (hybrid(plan, ".intermediate.act"), board),
        HYBRID: (hybrid(plan, ""), board),
        "all static, 4 lengths": (plan, replace(board, lengths=(16, 64, LENGTH, 512))),
    }
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        rows, runners = {}, {}
        for variant, (tried, target) in variants.items():
            file, rows[variant] = write(model, tried, target, scratch / variant)
            runners[variant] = engine(target.engine).runner(file, 1)
        data = scratch / "samples.npz"
        write_samples(data, calibration)
        for peer, way in ((PEER, "dynamic"), (PEER_STATIC, "static")):
            file, rows[peer] = ask(way, scratch / "float" / litert.ARTIFACT, data, scratch / way)
            if file is not None:
                runners[peer] = litert.runner(file, 1)
        judge(rows, runners, held)
    print_rows(rows)
    save(arguments.json, {"machine": machine(), "variants": rows})


def plan_for(model: ir.Model, calibration: list[Any]) -> Plan:
    """Calibrate as a build does."""
    apart = Plan(kept_float={linear.name: "" for linear in linears(model.graph)})
    seen = observe_ranges(lower(model, apart, REFERENCE), calibration, outputs=True)
    return decide_plan(model, seen, outputs=True)


def hybrid(plan: Plan, tensors: str) -> Plan:
    """Put the readers of some tensors on the dynamic rung."""
    raised = {
        name: replace(a, dynamic="tried") if name.endswith(tensors) else a
        for name, a in plan.activations.items()
    }
    return replace(plan, activations=raised)


def write(model: ir.Model, plan: Plan, board: Target, folder: Path) -> tuple[Path, Row]:
    """Lower and write; time the writing, and see how much memory it adds at its peak."""
    folder.mkdir()
    lowered = lower(model, plan, board)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts anew
    before, start = resident("VmRSS"), time.process_time()
    engine(board.engine).write(lowered, folder, {})
    seconds, peak = time.process_time() - start, resident("VmHWM") - before
    artifact = litert.ARTIFACT if board.engine == "litert" else onnxruntime.ARTIFACT
    size = (folder / artifact).stat().st_size
    return folder / artifact, {"write s": seconds, "peak / size": peak / size, "MB": size / 1e6}


def resident(key: str) -> int:
    """Return bytes of this process in memory, now (VmRSS) or at most (VmHWM)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key))


def ask(way: str, model: Path, data: Path, folder: Path) -> tuple[Path | None, Row]:
    """Let ai-edge-quantizer quantize our float file."""
    try:
        python = environment("ai_edge_quantizer")
    except RuntimeError as error:
        return None, {"error": str(error).strip().rpartition("\n")[2]}
    script = HERE / "peer" / "use_ai_edge_quantizer.py"
    ran = run([python, script, way, model, data, folder], LIMIT_S, PYTHONPATH=str(HERE))
    file = folder / litert.ARTIFACT
    if ran.code or not file.is_file():
        return None, {"error": ran.errors.strip().rpartition("\n")[2]}
    seconds, size = float(ran.output.rpartition("seconds ")[2]), file.stat().st_size
    return file, {"write s": seconds, "peak / size": ran.total_bytes / size, "MB": size / 1e6}


def judge(
    rows: dict[str, Row], runners: Mapping[str, Callable[[Any], list[FloatArray]]], held: list[Any]
) -> None:
    """Time all in turn, compare each with float."""
    feed = resize(held[0], LENGTH)
    times, spent = time_in_turn(runners, feed, REPEATS), spend_in_turn(runners, feed)
    expected = [runners[TRUTH](feed) for feed in held]
    for name, runner in runners.items():
        found = accuracy.compare("cosine", [runner(feed) for feed in held], expected, held)
        rows[name] |= {"mean": found.mean, "min": found.min, "ms": statistics.median(times[name])}
        rows[name]["CPU ms"] = statistics.median(spent[name])
    if PEER in runners:
        for row in rows.values():
            if "ms" in row:
                row[TIME] = row["CPU ms"] / rows[PEER]["CPU ms"]


def spend_in_turn(
    runners: Mapping[str, Callable[[Any], list[FloatArray]]], feed: Any
) -> dict[str, list[float]]:
    """Run A B C A B C ...; return each one's milliseconds of CPU, on the thread that calls."""
    spent: dict[str, list[float]] = {name: [] for name in runners}
    for _ in range(REPEATS):
        for name, runner in runners.items():
            start = time.thread_time()
            runner(feed)
            spent[name].append((time.thread_time() - start) * 1e3)
    return spent


def print_rows(rows: Mapping[str, Row]) -> None:
    """Print the table, and what is wanted beside what is."""
    keys = ("write s", "peak / size", "MB", "mean", "min", "ms", "CPU ms")
    print(f"  {'':27}" + "".join(f"{key:>12}" for key in keys))
    for name, row in rows.items():
        figures = "".join(f"{row[key]:12.4f}" for key in keys if key in row)
        print(f"  {name:27}{figures or row['error']}")
    print("  (peak: memory that writing adds; of ai-edge-quantizer, its process)")
    for wish in WISHES:
        print(f"  {wish.line(rows)}")


if __name__ == "__main__":
    main()

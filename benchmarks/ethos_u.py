"""MiniLM on Ethos-U: our two profiles beside naive int8, on each accelerator by Vela.

    python benchmarks/ethos_u.py [--json FILE]

128 tokens, batch 1. Cosine on held-out sentences of up to 128 tokens, never used for calibration,
measured in LiteRT's reference kernels; cycles, milliseconds and memory are Vela's: modelled. Naive
is Google's ai-edge-quantizer (static_wi8_ai8), in an environment of its own, on our float encoder
and the same calibration texts, with a mask of -50 that leaves its scores steps. "int8 everywhere"
has our form and ranges, without 16 bits, saturation and output factors.
"""

import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
from ai_edge_litert.interpreter import Interpreter, OpResolverType
from environment import environment
from litert import plan_for
from peer.request import write_samples
from running import machine, options, run, save
from sentences import CALIBRATION, HELDOUT, SAMPLES, feeds, open_minilm

from edgecompile import target
from edgecompile.emit import ethos_u as engine
from edgecompile.evaluate import accuracy
from edgecompile.lower.written.infer_shapes import infer_shapes
from edgecompile.placement import EMBED, ENCODER, POOL, cut_part, fix_shapes, place
from edgecompile.plan import FLOAT
from edgecompile.plan_tensors import plan_tensors
from edgecompile.quantize.observe_written import observe_written
from edgecompile.session import answer, session
from edgecompile.stages import lower, lower_float, run_stage
from edgecompile.tflite.flatbuffer import File
from edgecompile.tflite.write_graph import ONLY, Sizes, write_graph
from edgecompile.vela.compile_encoder import compile_encoder

LENGTH, HELD, LIMIT_S = 128, 40, 1800
MASKED = -50.0
NAIVE = "naive"
PLAIN, FAST, ACCURATE = "plain", "fast", "accurate"
NAMES = {PLAIN: "int8 everywhere", FAST: "fast", ACCURATE: "accurate"}
FIRST = "ethos-u55-128"

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Wish:
    """A figure that is wanted, and whether the least or the most is stated."""

    what: str
    found: float
    bound: float
    most: bool = False

    def line(self) -> str:
        """Say what is wanted and what is."""
        holds = self.found <= self.bound if self.most else self.found >= self.bound
        word = "at most" if self.most else "at least"
        return f"wanted: {self.what} {word} {self.bound:g}: {self.found:.4f}" + (
            "" if holds else "   MISSED"
        )


def main() -> None:
    """Calibrate once, lower, judge, compile for every accelerator, print."""
    arguments = options(__doc__).parse_args()
    print(f"machine: {machine()}; LiteRT {engine.runtime_version()}\n")
    boards = [target.load(name) for name in target.names() if name.startswith("ethos-u")]
    model, encoder = open_minilm()
    held = [f for f in feeds(encoder, HELDOUT, 256) if f["input_ids"].shape[1] <= LENGTH][:HELD]
    calibration = feeds(encoder, CALIBRATION, SAMPLES)
    plain = plan_for(model, calibration)
    plan = plan_tensors(model, plain, calibration)
    plain = replace(plain, tensors=_unlimited(model, calibration))
    expected = answer(session(lower_float(model)), held)
    rows: dict[str, Row] = {}
    with tempfile.TemporaryDirectory() as scratch:
        file = naive(model, calibration, Path(scratch))
        rows[NAIVE] = _judge(file, boards, held, expected)
        _print(NAIVE, rows[NAIVE])
        for profile, name in NAMES.items():
            folder = Path(scratch) / profile
            folder.mkdir()
            board = replace(target.load(FIRST), lengths=(LENGTH,), profile=profile)
            lowered = lower(model, plain if profile == PLAIN else plan, board)
            engine.write(lowered, folder, {})
            file = folder / engine.ENCODER_FILE.format(LENGTH)
            rows[name] = _judge(file, boards, held, expected)
            _print(name, rows[name])
    for wish in _wishes(rows):
        print(wish.line())
    save(arguments.json, {"machine": machine(), "variants": rows})


def _unlimited(model: Any, calibration: Any) -> Any:
    return observe_written(run_stage("lower/written", model, {}, None), calibration)


def _judge(file: Path, boards: list[target.Target], held: list[Any], expected: list[Any]) -> Row:
    """Run the parts beside an encoder on held-out sentences; compile it for each accelerator."""
    answers = list(map(_runner(file), held))
    found = accuracy.compare("cosine", answers, expected, held)
    compiled = {board.name: _compile(file, board, file.parent) for board in boards}
    return {"mean": found.mean, "min": found.min, "boards": compiled}


def _runner(file: Path) -> Callable[[Any], list[Any]]:
    """Return a function that runs the parts; what the host hands an int8 end is rounded for it."""
    plain = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    calls = []
    for name in (engine.EMBED_FILE, file.name, engine.POOL_FILE):
        path = str(file.parent / name)
        opened = Interpreter(path, num_threads=1, experimental_op_resolver_type=plain)
        opened.allocate_tensors()
        calls += [opened.get_signature_runner(key) for key in opened.get_signature_list()]

    def answer_one(feed: Any) -> list[Any]:
        ends = LENGTH - feed["input_ids"].shape[1]
        known = {n: np.pad(a, [(0, 0), (0, ends)]).astype(np.int32) for n, a in feed.items()}
        for call in calls:
            given = {n: _rounded(known[n], d) for n, d in call.get_input_details().items()}
            details = call.get_output_details()
            known |= {n: _real(a, details[n]) for n, a in call(**given).items()}
        return [known["sentence_embedding"]]

    return answer_one


def _rounded(array: Any, detail: Any) -> Any:
    """Return float numbers in the integers of an input."""
    scale, zero = detail["quantization"]
    if array.dtype.kind != "f" or not scale:
        return array
    limits = np.iinfo(detail["dtype"])
    return np.clip(np.rint(array / scale) + zero, limits.min, limits.max).astype(detail["dtype"])


def _real(array: Any, detail: Any) -> Any:
    """Return the float numbers of an output."""
    scale, zero = detail["quantization"]
    return (array.astype(np.float32) - zero) * np.float32(scale) if scale else array


def naive(model: ir.Model, calibration: list[Any], scratch: Path) -> Path:
    """Return the encoder that ai-edge-quantizer makes of our float one, its parts beside it."""
    folder, float_folder = scratch / "naive", scratch / "float"
    folder.mkdir()
    float_folder.mkdir()
    board = replace(target.load("x86-64:litert"), lengths=(LENGTH,))
    board = replace(board, forms=replace(board.forms, linear="matmul"))
    model = infer_shapes.run(model)
    model.graph.initializers["mask.value"].const_value = ir.tensor(np.array(MASKED, np.float32))
    lowered = _placed(lower(model, FLOAT, board))
    sizes = Sizes({"sequence": LENGTH}, f"tokens_{LENGTH}")
    for part, name in ((EMBED, engine.EMBED_FILE), (POOL, engine.POOL_FILE)):
        _write(folder / name, cut_part(lowered, part), sizes)
    encoder = fix_shapes(cut_part(lowered, ENCODER), sizes.of)
    _write(float_folder / "model.tflite", encoder, Sizes({}, ONLY))
    data = _embed(folder / engine.EMBED_FILE, calibration)
    write_samples(scratch / "samples.npz", data)
    python = environment("ai_edge_quantizer")
    script = Path(__file__).parent / "peer" / "use_ai_edge_quantizer.py"
    made = scratch / "made"
    arguments = ["static", float_folder / "model.tflite", scratch / "samples.npz", made]
    ran = run([python, script, *arguments], LIMIT_S, PYTHONPATH=str(script.parents[1]))
    if ran.code:
        sys.exit(ran.errors)
    file = folder / engine.ENCODER_FILE.format(LENGTH)
    shutil.copyfile(made / "model.tflite", file)
    return file


def _write(path: Path, part: ir.Model, sizes: Sizes) -> None:
    file = File(engine.ONE_FILE_BYTES)
    write_graph(file, part, sizes)
    path.write_bytes(file.data("benchmark"))


def _embed(file: Path, calibration: list[Any]) -> list[Any]:
    """Return what the encoder reads of each calibration text."""
    opened = Interpreter(str(file), num_threads=1)
    call = opened.get_signature_runner(f"tokens_{LENGTH}")
    found = []
    for feed in calibration:
        cut = {name: feed[name][:, :LENGTH] for name in call.get_input_details()}
        ends = LENGTH - next(iter(cut.values())).shape[1]
        padded = {n: np.pad(a, [(0, 0), (0, ends)]).astype(np.int32) for n, a in cut.items()}
        found.append(call(**padded))
    return found


def _placed(model: ir.Model) -> ir.Model:
    """Say of each node of the float form where it would run: the Linears are FullyConnected."""
    behind: set[ir.Node] = set()
    for node in model.graph:
        producers = [v.producer() for v in node.inputs if v is not None]
        if node.op_type == "FullyConnected" or behind.intersection(filter(None, producers)):
            behind.add(node)
    (end,) = (n for n in model.graph if n.outputs[0].name == "last_hidden_state")
    wanted, waiting = {end}, [end]
    while waiting:
        for value in waiting.pop().inputs:
            producer = None if value is None else value.producer()
            if producer is not None and producer not in wanted:
                wanted.add(producer)
                waiting.append(producer)
    for node in model.graph:
        place(node, EMBED if node not in behind else ENCODER if node in wanted else POOL)
    return model


def _compile(file: Path, board: target.Target, folder: Path) -> Row:
    start = time.perf_counter()
    made = compile_encoder(file, board, folder, lambda *_: None)
    found = made.figures
    return {
        "seconds, twice": time.perf_counter() - start,
        "on CPU": len(made.left),
        "Mcycles": float(found["cycles_total"]) / 1e6,
        "ms": float(found["inference_time"]) * 1e3,
        "SRAM KiB": float(found["sram_memory_used"]),
        "flash KiB": float(found["off_chip_flash_memory_used"]),
        "DRAM KiB": float(found["dram_memory_used"]),
        "MB": made.file.stat().st_size / 1e6,
    }


def _print(name: str, row: Row) -> None:
    print(f"{name}: cosine {row['mean']:.4f} mean, {row['min']:.4f} min (measured)")
    keys = list(next(iter(row["boards"].values())))
    print(f"  {'modelled by Vela':18}" + "".join(f"{key:>16}" for key in keys))
    for board, found in row["boards"].items():
        print(f"  {board:18}" + "".join(f"{found[key]:16.2f}" for key in keys), flush=True)


def _wishes(rows: dict[str, Row]) -> list[Wish]:
    def cycles(name: str) -> float:
        return float(rows[name]["boards"][FIRST]["Mcycles"])

    every = [f for name in (FAST, ACCURATE) for f in rows[NAMES[name]]["boards"].values()]
    return [
        Wish("fast, mean cosine", rows["fast"]["mean"], 0.991),
        Wish("accurate, mean cosine", rows["accurate"]["mean"], 0.995),
        Wish(f"fast, cycles / naive, {FIRST}", cycles(FAST) / cycles(NAIVE), 1.0, most=True),
        Wish("operators on the CPU", sum(f["on CPU"] for f in every), 0, most=True),
        Wish(
            "seconds to compile, slowest",
            max(f["seconds, twice"] for f in every) / 2,
            10,
            most=True,
        ),
    ]


if __name__ == "__main__":
    main()

"""MiniLM on Ethos-U: our two profiles beside int8 everywhere, on each accelerator by Vela.

    python benchmarks/ethos_u.py [--json FILE]

128 tokens, batch 1. Cosine on held-out sentences of up to 128 tokens, never used for calibration,
measured in LiteRT's reference kernels; cycles, milliseconds and memory are Vela's: modelled. "int8
everywhere" has the ranges and the form of ours, without 16 bits, saturation and output factors.
"""

import tempfile
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from litert import plan_for
from running import machine, options, save
from sentences import CALIBRATION, HELDOUT, SAMPLES, feeds, open_minilm

from edgecompile import target
from edgecompile.emit import ethos_u as engine
from edgecompile.evaluate import accuracy
from edgecompile.plan_tensors import plan_tensors
from edgecompile.session import answer, session
from edgecompile.stages import lower, lower_float, run_stage
from edgecompile.vela.compile_encoder import compile_encoder

LENGTH, HELD = 128, 40
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
        for profile, name in NAMES.items():
            folder = Path(scratch) / profile
            folder.mkdir()
            board = replace(target.load(FIRST), lengths=(LENGTH,), profile=profile)
            lowered = lower(model, plain if profile == PLAIN else plan, board)
            names = engine.write(lowered, folder, {})
            run = engine.runner(folder / names[0])
            found = accuracy.compare("cosine", [run(feed) for feed in held], expected, held)
            file = folder / engine.ENCODER_FILE.format(LENGTH)
            rows[name] = {"mean": found.mean, "min": found.min}
            rows[name]["boards"] = {b.name: _compile(file, b, folder) for b in boards}
            _print(name, rows[name])
    for wish in _wishes(rows):
        print(wish.line())
    save(arguments.json, {"machine": machine(), "variants": rows})


def _unlimited(model: Any, calibration: Any) -> Any:
    from edgecompile.quantize.observe_written import observe_written

    return observe_written(run_stage("lower/written", model, {}, None), calibration)


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
        return float(rows[NAMES[name]]["boards"][FIRST]["Mcycles"])

    every = [f for name in (FAST, ACCURATE) for f in rows[NAMES[name]]["boards"].values()]
    return [
        Wish("fast, mean cosine", rows["fast"]["mean"], 0.991),
        Wish("accurate, mean cosine", rows["accurate"]["mean"], 0.995),
        Wish(
            f"fast, cycles / int8 everywhere, {FIRST}", cycles(FAST) / cycles(PLAIN), 1.0, most=True
        ),
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

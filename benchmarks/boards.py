"""Boards without a board: MiniLM's instructions and modelled time, and how good the model is.

    python benchmarks/boards.py [--json FILE] [TARGET ...]

First, every published time that a board's factor is fitted to is modelled by the factor of the
others (leave one out). Then MiniLM at 128 tokens, batch 1, one thread, for each board as built for
its onnxruntime, as quantize_dynamic leaves it, and as built all static for LiteRT.
"""

import sys
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx_ir as ir
from anchors import BOARDS, cpu_of
from running import machine, options, save
from sentences import CALIBRATION, HELDOUT, SAMPLES, feeds, open_minilm, write_float

from edgecompile.counts.count_artifact import Counted, count_artifact
from edgecompile.data.feed import Feed
from edgecompile.emit.bundle import runtime_file
from edgecompile.emulate.userland import Userland, open_userland
from edgecompile.engines import engine
from edgecompile.graph import dim, linears
from edgecompile.latency.board import COUNTS, MCA, leave_one_out
from edgecompile.latency.estimate_latency import Estimate, estimate, find_bound
from edgecompile.pipeline import lower
from edgecompile.plan import Plan
from edgecompile.profile.choose_feeds import resize
from edgecompile.profile.quantize_dynamic import quantize_dynamic
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.target import REFERENCE, Target, engines, load, names

LENGTH = 128
WANTED = {("raspberry-pi-5", "litert, all static"): 180e6}


def main() -> None:
    """Judge the model, count, print."""
    parser = options(__doc__)
    parser.add_argument("targets", nargs="*", default=BOARDS)
    arguments = parser.parse_args()
    found: dict[str, Any] = {"machine": machine(), "anchors": judge_model()}
    print(f"\nMiniLM, {LENGTH} tokens; counts emulated, times modelled; host: {machine()}")
    with tempfile.TemporaryDirectory() as scratch:
        userland = open_userland(say=_say)
        model, feed, artifacts = write_artifacts(Path(scratch))
        analytic = LENGTH * sum(_size(linear.weight) for linear in linears(model.graph))
        print(f"int8 products by the shapes of {model.graph.name}'s Linears: {analytic:,}")
        rows = [row for name in arguments.targets
                for row in count_board(name, userland, feed, artifacts, analytic)]  # fmt: skip
    save(arguments.json, found | {"analytic_macs": analytic, "rows": rows})


def judge_model() -> list[dict[str, Any]]:
    """Print how far off each published time is, by the factor that the others give."""
    rows = []
    for model in (MCA, COUNTS):
        print(f"published times by the model without them ({model}):")
        for name in names():
            board = load(name)
            latency = board.latency
            if latency is None or board.cpu is None or latency.anchor_clock_hz:
                continue
            errors = leave_one_out(latency.ratios(model, board.cpu.clock_hz))
            band = latency.band_of(model)
            each = dict(zip(latency.anchors, errors, strict=True))
            inside = sum(abs(error) <= band for error in errors)
            factor = latency.factor(model, board.cpu.clock_hz)
            shown = ", ".join(f"{anchor} {error:+.0%}" for anchor, error in each.items())
            print(f"  {name:16} factor {factor:.2f} band {band:.0%} in it {inside}/{len(each)}")
            print(f"    {shown}")
            rows.append({"model": model, "board": name, "band": band, "errors": each})
        of_model = [row for row in rows if row["model"] == model]
        total = sum(len(row["errors"]) for row in of_model)
        inside = sum(abs(e) <= row["band"] for row in of_model for e in row["errors"].values())
        print(f"  in their bands: {inside} of {total}, {inside / total:.0%} (wanted: 80 %)")
    return rows


def write_artifacts(folder: Path) -> tuple[ir.Model, Feed, Mapping[str, tuple[str, Path]]]:
    """Write MiniLM's three artifacts; return the graph, a feed, engine and file of each."""
    model, encoder = open_minilm()
    held = feeds(encoder, HELDOUT, 16)
    apart = Plan(kept_float={linear.name: "" for linear in linears(model.graph)})
    floating = lower(model, apart, REFERENCE)
    seen = observe_ranges(floating, feeds(encoder, CALIBRATION, SAMPLES), outputs=True)
    plan = decide_plan(model, seen, outputs=True)
    dynamic = folder / "dynamic.onnx"
    failure = quantize_dynamic(write_float(model, folder / "float"), dynamic)
    if failure is not None:
        sys.exit(f"quantize_dynamic: {failure}")
    found = {"onnxruntime, dynamic": ("onnxruntime", dynamic)}
    for name, label in (("onnxruntime", "onnxruntime, ours"), ("litert", "litert, all static")):
        board = load(f"{BOARDS[0]}:{name}")
        board = replace(board, lengths=(LENGTH,) if name == "litert" else ())
        file = engine(name).write(lower(model, plan, board), folder, {})[0]
        found[label] = (name, folder / file)
    longest = max(held, key=lambda feed: feed["input_ids"].size)
    return model, resize(longest, LENGTH), found


def count_board(
    name: str,
    userland: Userland,
    feed: Feed,
    artifacts: Mapping[str, tuple[str, Path]],
    analytic: int,
) -> list[dict[str, Any]]:
    """Count each artifact on a board; print a line each, and which engine wins."""
    board = load(name)
    print(f"{board.description}")
    print(f"  {'':22}{'M instr.':>9}{'int8 products':>16}{'2 runs':>9}  ms (modelled)")
    rows = []
    for label, (runtime, file) in artifacts.items():
        counted = count_artifact(
            userland, cpu_of(board), runtime, file, feed, runtime=runtime_file(runtime)
        )
        modelled = _modelled(board, counted)
        rows.append(_row(name, label, runtime, counted, modelled))
        total, products = counted.counts["instructions"], counted.counts["int_macs"]
        exact = "=" if products == analytic else "!"
        wanted = WANTED.get((name, label))
        note = f"  (wanted: {wanted / 1e6:.0f} M)" if wanted else ""
        print(
            f"  {label:22}{total / 1e6:9.1f}{exact:>2}{products:14,}{counted.difference:9.3%}"
            f"  {modelled.ms:.0f} ({modelled.low:.0f} to {modelled.high:.0f}){note}"
        )
    best = min(rows, key=lambda row: float(row["ms"]))
    preferred = engines(name)[0]
    agrees = "as its file does" if best["engine"] == preferred else f"its file says {preferred}"
    print(f"  fewest milliseconds: {best['artifact']}; prefers {best['engine']}, {agrees}")
    return rows


def _modelled(board: Target, counted: Counted) -> Estimate:
    if board.latency is None:
        sys.exit(f"{board.name}: its file has no table [latency]")
    bound = find_bound(board.latency, counted, _say)
    return estimate(board.name, cpu_of(board), board.latency, bound)


def _row(
    board: str, label: str, runtime: str, counted: Counted, modelled: Estimate
) -> dict[str, Any]:
    return {
        "board": board, "artifact": label, "engine": runtime, "kind": "emulated",
        "counts": dict(counted.counts), "difference": counted.difference,
        "macs_by_shapes": counted.macs, "ms": modelled.ms, "ms_low": modelled.low,
        "ms_high": modelled.high, "ms_kind": "modelled", "ms_how": modelled.how,
    }  # fmt: skip


def _size(weight: ir.Value) -> int:
    return dim(weight, 0) * dim(weight, 1)


def _say(stage: str, what: str) -> None:
    print(f"{stage}: {what}", file=sys.stderr)


if __name__ == "__main__":
    main()

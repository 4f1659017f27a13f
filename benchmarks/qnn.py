"""What the qnn engine gives for MiniLM on Qualcomm's HTP, beside onnxruntime's own QNN quantizer.

    python benchmarks/qnn.py

Full model, ids to embedding, batch 1, 128 tokens, each compiled by onnxruntime-qnn as one EPContext
node with fallback to the CPU disabled, and run in its x86 emulator on held-out sentences. All
quantizers have the same calibration texts. MB are the NPU's. No latency: the emulator's time means
nothing.
"""

import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from litert import plan_for
from running import machine, options, save
from sentences import CALIBRATION, HELDOUT, feeds, open_minilm

from edgecompile import engines
from edgecompile.data.feed import Feed
from edgecompile.emit import onnxruntime, qnn
from edgecompile.evaluate import accuracy
from edgecompile.facts import CHIP
from edgecompile.lower.qnn.convert_gelu import convert_gelu
from edgecompile.lower.qnn.fix_shapes import fix_shapes
from edgecompile.passes import passes_of, run
from edgecompile.pipeline import lower
from edgecompile.plan import Plan
from edgecompile.qualcomm.answer_feeds import TABLES
from edgecompile.quantize.observe_hessians import observe_hessians
from edgecompile.session import answer, session
from edgecompile.stages import lower_float
from edgecompile.target import Target, load

LENGTH, CALIBRATE = 128, 32


def main() -> None:
    """Quantize, compile, emulate, judge, print."""
    parser = options(__doc__)
    parser.add_argument("--samples", type=int, default=32, help="held-out sentences to emulate")
    arguments = parser.parse_args()
    model, encoder = open_minilm(LENGTH)
    calibration = feeds(encoder, CALIBRATION, CALIBRATE)
    held = feeds(encoder, HELDOUT, arguments.samples)
    expected = answer(session(lower_float(model)), held)
    board = replace(load("snapdragon-8-elite"), lengths=(LENGTH,))
    plan = plan_for(model, calibration)
    fitted = observe_hessians(lower_float(model), plan, calibration)
    makers: dict[str, Callable[[], ir.Model]] = {
        "onnxruntime's QNN quantizer, a8w8": lambda: _naive(model, board, calibration, bits=8),
        "onnxruntime's QNN quantizer, a16w8": lambda: _naive(model, board, calibration, bits=16),
        "edgecompile, fast": lambda: _ours(model, board, plan, calibration, "fast"),
        "edgecompile, accurate": lambda: _ours(model, board, plan, calibration, "accurate"),
        "edgecompile, fast, gptq": lambda: _ours(model, board, fitted, calibration, "fast"),
        "edgecompile, accurate, gptq": lambda: _ours(model, board, fitted, calibration, "accurate"),
    }
    outside = replace(board, forms=replace(board.forms, tables="host"))
    makers |= {
        "edgecompile, tables on the host": lambda: _ours(
            model, outside, plan, calibration, "accurate"
        ),
        "the same, gptq": lambda: _ours(model, outside, fitted, calibration, "accurate"),
    }
    version = engines.engine("qnn").runtime_version()
    print(f"machine: {machine()}; onnxruntime-qnn {version}; {board.name}; emulated\n")
    print(f"  {'':36}{'compile s':>10}{'MB':>8}{'mean':>9}{'min':>9}", flush=True)
    rows = {}
    for name, make in makers.items():
        rows[name] = _row(make(), held, expected)
        shown = rows[name]
        if "error" in shown:
            print(f"  {name:36}{shown['error']}", flush=True)
            continue
        print(
            f"  {name:36}{shown['compile_s']:10.1f}{shown['mb']:8.2f}"
            f"{shown['mean']:9.4f}{shown['min']:9.4f}",
            flush=True,
        )
    save(arguments.json, {"machine": machine(), "kind": "emulated", "variants": rows})


def _ours(
    model: ir.Model, board: Target, plan: Plan, calibration: list[Feed], profile: str
) -> ir.Model:
    board = replace(board, profile=profile)
    return lower(model, engines.observe(plan, board, model, calibration), board)


def _naive(model: ir.Model, board: Target, calibration: list[Feed], bits: int) -> ir.Model:
    """Quantize the exchange form as onnxruntime's documentation of QNN says, at its best.

    Per channel; a mask of -50; LayerNormalization's scale uint8, for the HTP refuses int8 there.
    """
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize
    from onnxruntime.quantization.execution_providers.qnn import get_qnn_qdq_config

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        """Gives the calibration texts, padded."""

        def __init__(self, rows: list[Feed]) -> None:
            self.rows = iter(rows)

        def get_next(self) -> Any:
            return next(self.rows, None)

    *_, (_, plain) = run(passes_of("lower/exchange"), model)
    plain = plain.clone()
    mask = np.array(-50.0, np.float32)  # float's -10,000 would take all steps from the scores
    plain.graph.initializers["mask.value"].const_value = ir.Tensor(mask, name="mask.value")
    fixed = convert_gelu.run(fix_shapes.run(plain, board), board)
    fixed.graph.opset_imports[""] = 20
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        (name, *_) = onnxruntime.write(fixed, place, {})
        padded = [_padded(feed, fixed) for feed in calibration]
        gains = [n.input[1] for n in onnx.load(place / name).graph.node
                 if n.op_type == "LayerNormalization"]  # fmt: skip
        config = get_qnn_qdq_config(
            place / name,
            Reader(padded),
            activation_type=QuantType.QUInt8 if bits == 8 else QuantType.QUInt16,
            weight_type=QuantType.QInt8,
            per_channel=True,
            init_overrides={gain: [{"quant_type": QuantType.QUInt8}] for gain in gains},
        )
        quantize(place / name, place / "qdq.onnx", config)
        found = ir.load(place / "qdq.onnx")
        for value in found.graph.initializers.values():
            if value.const_value is not None:
                value.const_value = ir.Tensor(value.const_value.numpy().copy(), name=value.name)
    found.metadata_props[CHIP] = " ".join(board.chip)
    return found


def _padded(feed: Feed, model: ir.Model) -> Feed:
    """Return a feed in the fixed shapes, zeros behind, as a user of that quantizer would."""
    return {
        str(v.name): np.pad(
            feed[str(v.name)], [(0, 0), (0, LENGTH - feed[str(v.name)].shape[1])]
        ).astype(v.dtype.numpy() if v.dtype else None)
        for v in model.graph.inputs
    }


def _row(lowered: ir.Model, held: Sequence[Feed], expected: Any) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as scratch:
        place, start = Path(scratch), time.perf_counter()
        try:
            names = qnn.write(lowered, place, {})
        except Exception as error:
            return {"error": str(error)}
        seconds = time.perf_counter() - start
        size = sum((place / name).stat().st_size for name in names if name != TABLES)
        answers = qnn.answer_all(place / names[0], held)
    found = accuracy.compare("cosine", answers, expected, held)
    mean, least = found.mean, found.min
    return {"compile_s": seconds, "mb": size / 1e6, "mean": mean, "min": least}


if __name__ == "__main__":
    main()

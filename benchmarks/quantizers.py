"""onnxruntime's own quantizers at their documented settings: what an artifact is compared with.

Imports nothing of edgecompile, so that it also runs in a peer's environment.
"""

import contextlib
import logging
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

Feed = Mapping[str, Any]
Quantizer = Callable[[Path, Path, Sequence[Feed]], None]
"""(float model, output, calibration feeds): writes the output."""


def dynamic(model: Path, output: Path, _feeds: Sequence[Feed]) -> None:
    """Quantize as quantize_dynamic does by default."""
    _dynamic(model, output)


def dynamic_best(model: Path, output: Path, _feeds: Sequence[Feed]) -> None:
    """Quantize with a scale a channel and 7-bit weights, as documented for AVX2 without VNNI."""
    _dynamic(model, output, per_channel=True, reduce_range=True)


def static(model: Path, output: Path, feeds: Sequence[Feed]) -> None:
    """Quantize as quantize_static does by default."""
    _static(model, output, feeds)


def static_best(model: Path, output: Path, feeds: Sequence[Feed], method: str = "Entropy") -> None:
    """Quantize Linears only, per channel, 7 bit, ranges by entropy, pre-processed as documented."""
    from onnxruntime.quantization import CalibrationMethod
    from onnxruntime.quantization.shape_inference import quant_pre_process

    with tempfile.TemporaryDirectory() as scratch:
        ready = Path(scratch) / "ready.onnx"
        quant_pre_process(model, ready, skip_symbolic_shape=True)
        _static(
            ready,
            output,
            feeds,
            op_types_to_quantize=["MatMul", "Gemm"],
            per_channel=True,
            reduce_range=True,
            calibrate_method=CalibrationMethod[method],
            # A histogram step stacks its samples: all but the same length would be refused.
            extra_options={"CalibStridedMinMax": 1},
        )


def static_percentile(model: Path, output: Path, feeds: Sequence[Feed]) -> None:
    """Quantize the same with ranges by percentile (99.999 %)."""
    static_best(model, output, feeds, "Percentile")


def _dynamic(model: Path, output: Path, **more: Any) -> None:
    from onnxruntime.quantization import quantize_dynamic

    logging.disable(logging.WARNING)
    quantize_dynamic(model, output, **more)


def _static(model: Path, output: Path, feeds: Sequence[Feed], **more: Any) -> None:
    from onnxruntime.quantization import CalibrationDataReader, quantize_static

    class Reader(CalibrationDataReader):  # type: ignore[misc]
        rows: Iterator[Feed] = iter(feeds)

        def __len__(self) -> int:
            return len(feeds)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.rows = iter(feeds[start_index:end_index])

        def get_next(self) -> dict[str, Any] | None:
            row = next(self.rows, None)
            return None if row is None else dict(row)

    logging.disable(logging.WARNING)
    with contextlib.redirect_stdout(None):  # its calibrator prints a line a sample
        quantize_static(model, output, Reader(), **more)

"""Quantize with onnxruntime's own tools."""

from pathlib import Path

import onnxruntime.quantization  # noqa: F401 - before the clock starts
import quantizers
from request import Feed, Way, serve


def into_folder(quantize: quantizers.Quantizer) -> Way:
    """Write model.onnx into a folder."""

    def way(model: Path, folder: Path, feeds: list[Feed]) -> None:
        quantize(model, folder / "model.onnx", feeds)

    return way


if __name__ == "__main__":
    names = ("dynamic", "dynamic_best", "static", "static_best", "static_percentile")
    serve({name: into_folder(getattr(quantizers, name)) for name in names})

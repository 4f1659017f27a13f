"""Quantize with NNCF for OpenVINO, as its documentation advises for transformers.

The transformer preset switches SmoothQuant on and leaves attention's softmax path in float; biases
are corrected fast. `compress` (int8 weights alone) is OpenVINO's dynamic quantization at run time.
"""

from pathlib import Path

import nncf
import openvino
from request import Feed, serve


def static(model: Path, folder: Path, feeds: list[Feed]) -> None:
    """Quantize weights and activations."""
    quantized = nncf.quantize(
        openvino.Core().read_model(model),
        nncf.Dataset(feeds),
        preset=nncf.QuantizationPreset.MIXED,
        target_device=nncf.TargetDevice.CPU,
        subset_size=len(feeds),
        fast_bias_correction=True,
        model_type=nncf.ModelType.TRANSFORMER,
    )
    openvino.save_model(quantized, folder / "model.xml", compress_to_fp16=False)


def compress(model: Path, folder: Path, _feeds: list[Feed]) -> None:
    """Quantize weights, a scale a channel; OpenVINO's CPU plugin quantizes activations itself."""
    quantized = nncf.compress_weights(
        openvino.Core().read_model(model), mode=nncf.CompressWeightsMode.INT8_ASYM
    )
    openvino.save_model(quantized, folder / "model.xml", compress_to_fp16=False)


if __name__ == "__main__":
    serve({"static": static, "compress": compress})

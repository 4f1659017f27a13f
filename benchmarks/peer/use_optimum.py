"""Quantize with optimum-onnx's ORTQuantizer, in the configurations that it makes for a CPU."""

import tempfile
from functools import partial
from pathlib import Path

from datasets import Dataset
from optimum.onnxruntime import AutoQuantizationConfig, ORTQuantizer
from optimum.onnxruntime.configuration import AutoCalibrationConfig
from request import Feed, serve

CPUS = {
    "avx2": partial(AutoQuantizationConfig.avx2, per_channel=True, reduce_range=True),
    "avx512_vnni": partial(AutoQuantizationConfig.avx512_vnni, per_channel=True),
}


def dynamic(model: Path, folder: Path, _feeds: list[Feed], *, cpu: str) -> None:
    """Quantize weights, a scale a channel."""
    config = CPUS[cpu](is_static=False)
    quantizer = ORTQuantizer.from_pretrained(model.parent, file_name=model.name)
    quantizer.quantize(save_dir=folder, quantization_config=config, file_suffix="")


def static(model: Path, folder: Path, feeds: list[Feed], *, cpu: str) -> None:
    """Quantize weights and activations, ranges by min-max."""
    rows = [{name: array[0].tolist() for name, array in feed.items()} for feed in feeds]
    data = Dataset.from_list(rows)
    config = CPUS[cpu](is_static=True)
    quantizer = ORTQuantizer.from_pretrained(model.parent, file_name=model.name)
    with tempfile.TemporaryDirectory() as scratch:
        ranges = quantizer.fit(
            dataset=data,
            calibration_config=AutoCalibrationConfig.minmax(data),
            onnx_augmented_model_name=f"{scratch}/augmented.onnx",
            operators_to_quantize=config.operators_to_quantize,
        )
        quantizer.quantize(
            save_dir=folder,
            quantization_config=config,
            calibration_tensors_range=ranges,
            file_suffix="",
        )


if __name__ == "__main__":
    serve(
        {f"dynamic_{cpu}": partial(dynamic, cpu=cpu) for cpu in CPUS}
        | {f"static_{cpu}": partial(static, cpu=cpu) for cpu in CPUS}
    )

"""Quantize a float .tflite with Google's ai-edge-quantizer, at its own recipes' defaults."""

from pathlib import Path

import numpy as np
from ai_edge_quantizer import quantizer, recipe
from request import Feed, serve


def dynamic(model: Path, folder: Path, _feeds: list[Feed]) -> None:
    """Int8 weights, activations rounded as they come."""
    asked = quantizer.Quantizer(str(model))
    asked.load_quantization_recipe(recipe.dynamic_wi8_afp32())
    asked.quantize().export_model(str(folder / "model.tflite"))


def static(model: Path, folder: Path, feeds: list[Feed]) -> None:
    """Int8 weights and activations, calibrated; the file has one signature."""
    asked = quantizer.Quantizer(str(model))
    asked.load_quantization_recipe(recipe.static_wi8_ai8())
    (key,) = signatures = asked_signatures(model)
    inputs = signatures[key]
    data = [{n: padded(feed[n], inputs[n]) for n in inputs} for feed in feeds]
    seen = asked.calibrate({key: data})
    asked.quantize(seen).export_model(str(folder / "model.tflite"))


def asked_signatures(model: Path) -> dict[str, dict[str, tuple[int, ...]]]:
    """Return the shape of each input, by signature."""
    from ai_edge_litert.interpreter import Interpreter

    opened = Interpreter(model_path=str(model))
    return {
        key: {
            name: tuple(int(n) for n in detail["shape"])
            for name, detail in opened.get_signature_runner(key).get_input_details().items()
        }
        for key in opened.get_signature_list()
    }


def padded(array: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Return int32 ids, or numbers, in the file's shape: zeros behind, what is too long cut."""
    array = array[tuple(slice(n) for n in shape)]
    ends = [(0, size - n) for size, n in zip(shape, array.shape, strict=True)]
    return np.pad(array, ends).astype(np.int32 if array.dtype.kind in "iu" else array.dtype)


if __name__ == "__main__":
    serve({"dynamic": dynamic, "static": static})

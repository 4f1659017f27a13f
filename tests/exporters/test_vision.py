"""A vision transformer through optimum: exported, its image size found, recognised, quantized."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("optimum.exporters.onnx")

from edgecompile import pipeline  # noqa: E402 - after the skip
from edgecompile.export import read_model  # noqa: E402
from edgecompile.graph import op_histogram  # noqa: E402
from edgecompile.recipe import CalibrationTable, GateTable, Recipe  # noqa: E402

pytestmark = pytest.mark.exporters

LAYERS, SIDE, CHANNELS = 2, 12, 3
SAMPLES = 16


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, randomise: Callable[..., Any]) -> Path:
    """Save a random ViT classifier of 12x12 images in patches of 4."""
    config = transformers.ViTConfig(
        image_size=SIDE, patch_size=4, num_channels=CHANNELS, num_labels=5, hidden_size=32,
        num_hidden_layers=LAYERS, num_attention_heads=4, intermediate_size=64,
    )  # fmt: skip
    path = tmp_path_factory.mktemp("checkpoint") / "vit"
    randomise(transformers.ViTForImageClassification(config)).save_pretrained(path)
    return path


def test_its_images_have_one_shape(folder: Path) -> None:
    """Optimum names all four axes; what the model takes is found, the batch stays open."""
    (image,) = read_model.export(read_model.find_source(folder)).graph.inputs
    assert image.shape is not None
    assert list(image.shape)[1:] == [CHANNELS, SIDE, SIDE]
    assert not isinstance(image.shape[0], int)


def test_int8_for_x86_64_is_built(folder: Path, tmp_path: Path) -> None:
    """From a directory and an .npz of pixels comes a bundle that passed the gate's run."""
    random = np.random.default_rng(0)
    pixels = random.normal(size=(2 * SAMPLES, CHANNELS, SIDE, SIDE)).astype(np.float32)
    np.savez(tmp_path / "pixels.npz", pixel_values=pixels)
    calibration = CalibrationTable("pixels.npz", SAMPLES)
    # One of so few samples may well be a near tie between two random classes.
    recipe = Recipe(calibration=calibration, gate=GateTable(agreement=0.9), folder=tmp_path)
    prepared = pipeline.prepare(read_model.find_source(folder), recipe, pipeline.Trace())
    found = op_histogram(prepared.model.graph)
    assert (found["Attention"], found["Gelu"]) == (LAYERS, LAYERS)
    assert found["LayerNormalization"] == 2 * LAYERS + 1
    (bundle,) = pipeline.build(folder, ["x86-64"], tmp_path / "dist", recipe, pipeline.Trace())
    assert bundle.manifest["accuracy"]["metric"] == "agreement"
    assert bundle.manifest["accuracy"]["signal"] > 0.99

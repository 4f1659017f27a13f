"""Prune, distil, build, check on the device: each by its command, of texts and of images."""

import json
import math
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")
transformers = pytest.importorskip("transformers")
pytest.importorskip("optimum.exporters.onnx")

from edgecompile import pipeline, recipe  # noqa: E402 - after the skip
from edgecompile.errors import DataError, DistillError, RecipeError  # noqa: E402
from edgecompile.inspect_file import inspect_file  # noqa: E402
from edgecompile.narrow.distill_model import distill  # noqa: E402

pytestmark = pytest.mark.exporters

Study = Callable[..., Path]
SIDE, CLASSES, IMAGES = 12, 5, 120
PRUNE = """
[prune]
ffn = 0.5
heads = 0.25
samples = 32

[gate]
cosine_mean = 0.0
agreement = 0.0
signal = 0.0

[profile]
sequence = [8]
repeats = 1
"""
IMAGE_RECIPE = """
[model]
source = "vit"

[calibration]
data = "train.npz"
samples = 16

[evaluate]
data = "golden.npz"

[distill]
data = "train.npz"
labels = "labels.npy"
held_out = 16
batch = 16
steps = 8
evaluate_every = 4
"""


def train(path: Path) -> dict[str, Any]:
    """Distil; return student.json."""
    return dict(distill(recipe.read(path), pipeline.Trace(), lambda _moment: None).record)


def build(path: Path) -> pipeline.Bundle:
    """Build for x86-64, in dist beside the recipe."""
    read = recipe.read(path)
    model = read.path(read.model.source)
    (bundle,) = pipeline.build(model, ["x86-64"], path.parent / "dist", read, pipeline.Trace())
    return bundle


def smoke(folder: Path) -> str:
    """Run a bundle's own check; return what it says."""
    done = subprocess.run(
        [sys.executable, "smoke.py"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def weights(folder: Path) -> int:
    """Return how many weights the Linears of an artifact have."""
    return sum(math.prod(row["shape"]) for row in inspect_file(folder)["linears"])


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Write a random ViT, its images and labels, and a recipe; return the last."""
    config = transformers.ViTConfig(
        image_size=SIDE, patch_size=4, num_channels=1, num_labels=CLASSES, hidden_size=32,
        num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        initializer_range=0.2,
    )  # fmt: skip
    torch.manual_seed(0)
    transformers.ViTForImageClassification(config).save_pretrained(tmp_path / "vit")
    random = np.random.default_rng(0)
    pixels = random.normal(size=(IMAGES, 1, SIDE, SIDE)).astype(np.float32)
    np.savez(tmp_path / "train.npz", pixel_values=pixels[16:])
    np.savez(tmp_path / "golden.npz", pixel_values=pixels[:16])
    np.save(tmp_path / "labels.npy", random.integers(CLASSES, size=IMAGES - 16))
    path = tmp_path / "recipe.toml"
    path.write_text(IMAGE_RECIPE + PRUNE)
    return path


def test_texts_from_the_dense_model_to_a_checked_bundle(study: Study) -> None:
    """The bundle holds the student that was trained, narrower; its manifest says how near it is."""
    path = study(steps=8, evaluate_every=4)
    path.write_text(path.read_text().replace('start = "narrow.onnx"\n', "") + PRUNE)
    record = train(path)
    bundle = build(path)
    assert bundle.manifest["pruning"]["after"] == record["after"]
    assert bundle.manifest["pruning"]["distill"]["steps"] == 8
    assert bundle.manifest["accuracy"]["metric"] == "cosine"
    whole = 2 * (4 * 32 * 32 + 2 * 32 * 64)
    heads, channels = 2 * 4 * 32 * 8, 2 * 32 * 64
    assert weights(bundle.folder) == whole - heads - channels
    assert "all checks passed" in smoke(bundle.folder)


def test_images_and_labels_from_the_dense_model_to_a_checked_bundle(images: Path) -> None:
    """Repaired and trained on an .npz, with labels from a .npy; speed is counted in samples."""
    record = train(images)
    assert record["metric"] == "agreement"
    folder = images.parent / "student"
    first, *_, last = map(json.loads, (folder / "log.jsonl").read_text().splitlines())
    assert last["loss"] > last["labels"] > 0
    assert last["samples_s"] > 0
    assert "tokens_s" not in first.keys() | last.keys()
    bundle = build(images)
    assert bundle.manifest["pruning"]["after"] == record["after"]
    assert bundle.manifest["accuracy"]["metric"] == "agreement"
    assert "all checks passed" in smoke(bundle.folder)


def test_labels_that_changed_are_another_training(images: Path) -> None:
    """Their file is known by its hash, as the data is."""
    train(images)
    labels = np.load(images.parent / "labels.npy")
    np.save(images.parent / "labels.npy", (labels + 1) % CLASSES)
    with pytest.raises(DistillError, match=r"the file \[distill\] labels was [0-9a-f]{64}, is"):
        train(images)


def test_images_mistakes_are_one_line(images: Path) -> None:
    """Labels of other samples; no data to train on, for which only text models have a default."""
    labels = np.load(images.parent / "labels.npy")
    np.save(images.parent / "labels.npy", np.concatenate([labels, labels[:3]]))
    with pytest.raises(DataError, match=r"104 samples but 107 labels in labels\.npy; give one a"):
        train(images)
    text = images.read_text()
    at = text.index("[distill]")
    images.write_text(text[:at] + text[at:].replace('data = "train.npz"\n', "", 1))
    with pytest.raises(RecipeError, match=r"\[distill\] data: name what to train on; .*pixel_val"):
        train(images)

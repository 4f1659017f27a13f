"""A second domain: a small vision transformer that reads digits: float, int8, pruned, distilled.

    make bench-tasks    (or: .venv-export/bin/python benchmarks/digits.py [--json FILE])

scikit-learn's bundled digits: 1,797 real scans of 8x8 pixels. The model is trained here, once, from
a fixed seed (half a minute), exported through optimum, and judged on scans that neither training,
calibration nor the gate has seen. *Pruned* is what benchmarks/digits.toml removes, in float unless
it says int8; it is distilled on the images that also trained the model, less those of the gate.
Needs torch, optimum, accelerate and scikit-learn: locks/export.txt. With ai-edge-litert in the same
environment, the .tflite files of two Raspberry Pi targets are judged too, each by its own runtime.
--boards builds for two boards and both engines, and runs the smoke tests on their emulated CPUs.
"""

import json
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import quantizers
import torch
import transformers
from running import build, machine, options, save, timed
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

from edgecompile.engines import engine
from edgecompile.export.read_model import export, find_source
from edgecompile.graph import FloatArray

TEST, CALIBRATION, GOLDEN = 797, 64, 128
EPOCHS, BATCH, RATE = 30, 64, 2e-3
BOARDS = tuple(f"raspberry-pi-{n}:{e}" for n in (3, 5) for e in ("onnxruntime", "litert"))
TFLITE = {"litert": "raspberry-pi-5", "tflite_runtime": "raspberry-pi-os-32"}
WANTED, WANTED_PRUNED, WANTED_S = 0.003, 0.005, 180
RECIPE = Path(__file__).with_suffix(".toml")
AS_FLOAT = """
[quantize]
scheme = "none"

[gate]
agreement = 0.0
signal = 0.0
"""
VIT = {
    "image_size": 8,
    "patch_size": 2,
    "num_channels": 1,
    "num_labels": 10,
    "hidden_size": 64,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "initializer_range": 0.1,
}


def main() -> None:
    """Train, export, quantize, judge, print."""
    parser = options(__doc__)
    parser.add_argument("--boards", action="store_true", help="run on emulated boards too")
    arguments = parser.parse_args()
    print(f"machine: {machine()}; measured on {TEST} scans, of {TEST + 1000}")
    images, labels = load_digits(return_X_y=True)
    pixels = (images.reshape(-1, 1, 8, 8) / 8 - 1).astype(np.float32)
    x, test_x, y, test_y = train_test_split(
        pixels, labels, test_size=TEST, random_state=0, stratify=labels
    )
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        start = time.perf_counter()
        train(x, y).save_pretrained(scratch / "vit")
        print(f"  trained in {time.perf_counter() - start:.0f} s")
        models = quantize_all(scratch, x)
        pruned, seconds = prune(scratch, x, y)
        rows = judge_all(models | pruned, test_x, test_y)
        boards = [on_board(scratch, name) for name in BOARDS] if arguments.boards else []
    print(f"  {'':34}{'right of ' + str(TEST):>14}{'accuracy':>10}{'to float':>10}")
    for peer, row in rows.items():
        change = row["accuracy"] - rows["float"]["accuracy"]
        print(f"  {peer:34}{row['right']:14}{row['accuracy']:10.2%}{change * 100:+10.2f}")
    print(f"  wanted: edgecompile within {WANTED * 100:.1f} points of float")
    print(
        f"  wanted: distilled within {WANTED_PRUNED * 100:.1f} points in at most {WANTED_S} s; it"
        f" took {seconds:.0f} s, export and pruning included"
    )
    for row in boards:
        print(f"  {row['target']:24} {row['metric']} {row['mean']:.4f}, R2 {row['signal']:.4f}, on"
              f" {row['samples']} samples: {row['how']} (emulated)")  # fmt: skip
    figures = {"machine": machine(), "test": TEST, "models": rows, "distill_s": seconds}
    figures["boards"] = boards
    save(arguments.json, figures)


def train(x: FloatArray, y: FloatArray) -> torch.nn.Module:
    """Train on images [N, 1, 8, 8] of -1 to 1 and their digits, [N]."""
    torch.manual_seed(0)
    torch.set_num_threads(1)  # matrices this small: a second thread waits more than it works
    model = transformers.ViTForImageClassification(transformers.ViTConfig(**VIT))
    optimiser = torch.optim.AdamW(model.parameters(), weight_decay=0.05)
    steps = EPOCHS * -(-len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, RATE, steps)
    images, labels = torch.from_numpy(x), torch.from_numpy(y)
    for _ in range(EPOCHS):
        for rows in torch.randperm(len(x)).split(BATCH):
            loss = torch.nn.functional.cross_entropy(model(images[rows]).logits, labels[rows])
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
    return model.eval()


def quantize_all(scratch: Path, x: FloatArray) -> dict[str, Path]:
    """Quantize the dense model by every way."""
    np.savez(scratch / "digits.npz", pixel_values=x[: CALIBRATION + GOLDEN])
    artifact, _ = build(scratch / "vit", scratch / "dist", "--data", scratch / "digits.npz")
    models = {"float": scratch / "float.onnx"}
    ir.save(export(find_source(scratch / "vit")), models["float"])
    feeds = [{"pixel_values": image[None]} for image in x[:CALIBRATION]]
    ways = {
        "onnxruntime dynamic": quantizers.dynamic,
        "onnxruntime dynamic, best": quantizers.dynamic_best,
        "onnxruntime static": quantizers.static,
        "onnxruntime static, best": quantizers.static_best,
    }
    for number, (peer, quantize) in enumerate(ways.items()):
        models[peer] = scratch / f"peer{number}.onnx"
        quantize(models["float"], models[peer], feeds)
    models["edgecompile"] = artifact
    for name, target in TFLITE.items() if find_spec("ai_edge_litert") else ():
        folder = scratch / name
        build(scratch / "vit", folder, "--data", scratch / "digits.npz", target=target)
        (models[f"edgecompile, {name}"],) = folder.glob("*/model.tflite")
    return models


def prune(scratch: Path, x: FloatArray, y: FloatArray) -> tuple[dict[str, Path], float]:
    """Prune, distil and build with our own commands; return the models, and seconds to distil."""
    np.savez(scratch / "train.npz", pixel_values=x[:-GOLDEN])
    np.save(scratch / "labels.npy", y[:-GOLDEN])
    np.savez(scratch / "golden.npz", pixel_values=x[-GOLDEN:])
    recipe = scratch / RECIPE.name
    shutil.copy(RECIPE, recipe)
    ran = timed([sys.executable, "-m", "edgecompile", "distill", recipe])
    artifact, _ = build(scratch / "vit", scratch / "narrow", "--recipe", recipe)
    rough = scratch / "rough.toml"
    cut = RECIPE.read_text(encoding="utf-8").partition("[distill]")[0]
    rough.write_text(cut + "repair = false\n" + AS_FLOAT, encoding="utf-8")
    unrepaired, _ = build(scratch / "vit", scratch / "rough", "--recipe", rough)
    models = {
        "pruned, not repaired": unrepaired,
        "pruned, repaired": scratch / "student" / "start.onnx",
        "pruned, repaired, distilled": scratch / "student" / "student.onnx",
        "pruned, repaired, distilled, int8": artifact,
    }
    return models, ran.seconds


def on_board(scratch: Path, target: str) -> dict[str, Any]:
    """Build the dense model for a board; return how its smoke test went on the emulated CPU."""
    folder = scratch / target.replace(":", "-")
    build(scratch / "vit", folder, "--data", scratch / "digits.npz", "--emulate", target=target)
    (manifest,) = folder.glob("*/manifest.json")
    found: dict[str, Any] = json.loads(manifest.read_text(encoding="utf-8"))["accuracy_emulated"]
    return {"target": target, **found}


def judge_all(
    models: Mapping[str, Path], test_x: FloatArray, test_y: FloatArray
) -> dict[str, dict[str, float]]:
    """Count each model's right answers on the test scans."""
    rows = {}
    for peer, path in models.items():
        chosen = next((e for e in TFLITE if peer.endswith(e)), "onnxruntime")
        run = engine(chosen).runner(path)
        answers = [run({"pixel_values": image[None]})[0].argmax() for image in test_x]
        right = int(np.sum(np.array(answers) == test_y))
        rows[peer] = {"right": right, "accuracy": right / len(test_y)}
    return rows


if __name__ == "__main__":
    main()

"""Core ML packages: what lies on disk is read back, computed, and says that Core ML did not run."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile import pipeline
from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.emit import coreml
from edgecompile.errors import BundleError, ToolchainError, UnsupportedError
from edgecompile.inspect_file import inspect_file
from edgecompile.recipe import CalibrationTable, QuantizeTable, Recipe, ShapesTable
from edgecompile.toolchain import venv

RECIPE = Recipe(shapes=ShapesTable((1, 32)), calibration=CalibrationTable(samples=16))
WEIGHTS = "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin"
needs_toolchain = pytest.mark.skipif(
    venv.installed("coreml") is None, reason="edgecompile toolchain install coreml"
)


def build(model: Path, output: Path, recipe: Recipe = RECIPE) -> tuple[pipeline.Bundle, list[str]]:
    """Build for iPhones; return the bundle and the warnings."""
    told: list[str] = []
    trace = pipeline.Trace(lambda stage, line: told.append(line) if stage == "warning" else None)
    (bundle,) = pipeline.build(model, ["iphone"], output, recipe, trace)
    return bundle, told


@pytest.mark.slow
@needs_toolchain
@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_a_bundle_holds_int8_weights_and_says_that_core_ml_did_not_run(
    family: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Loudly, in the terminal and the manifest; the accuracy is that of the package read back."""
    model = checkpoint(family, sentence_transformers=True, vocab_size=200)
    bundle, warnings = build(model, tmp_path / "dist")
    manifest = bundle.manifest
    assert any("NOT EXECUTED" in line and "Mac" in line for line in warnings)
    assert manifest["accuracy"]["kind"] == "emulated"
    assert manifest["accuracy"]["how"].startswith("not executed by Core ML")
    assert manifest["accuracy"]["mean"] > 0.999
    assert manifest["compiled"]["executed"] is False
    operators = manifest["compiled"]["operators"]
    shown = inspect_file(bundle.folder)
    tables = len(shown["embeddings"])
    assert tables >= 1
    assert operators["constexpr_affine_dequantize"] == operators["linear"] + tables
    assert operators["layer_norm"] >= 2 * 2
    rows = {row["name"]: row for row in bundle.profile["numbers"] if row["model"] == "artifact"}
    assert rows["npu_share_ops"]["value"] is None
    parts = [f for f in (bundle.folder / "model.mlpackage").rglob("*") if f.is_file()]
    assert rows["size"]["value"] == sum(f.stat().st_size for f in parts) > 0
    read_bundle(bundle.folder)
    assert {row["format"].split()[0] for row in shown["linears"]} == {"int8"}


@pytest.mark.slow
@needs_toolchain
def test_the_weights_on_disk_are_what_answers(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """One damaged byte of a weight changes the answers; one of the file's heads is refused."""
    bundle, _ = build(checkpoint(sentence_transformers=True), tmp_path / "dist")
    artifact, file = bundle.folder / coreml.ARTIFACT, bundle.folder / WEIGHTS
    with np.load(bundle.folder / "golden.npz") as golden:
        feed = {k.split("/")[2]: golden[k] for k in golden.files if k.startswith("000/in/")}
    whole = file.read_bytes()
    (before,) = coreml.answer_all(artifact, [feed])
    file.write_bytes(whole[:-16] + bytes(byte ^ 0x15 for byte in whole[-16:]))
    (after,) = coreml.answer_all(artifact, [feed])
    assert not np.array_equal(before[0], after[0])
    with pytest.raises(BundleError, match=r"weight\.bin: is not the file that was built"):
        read_bundle(bundle.folder)
    file.write_bytes(whole[:64] + b"\0\0\0\0" + whole[68:])
    with pytest.raises(ToolchainError, match="no blob of"):
        coreml.answer_all(artifact, [feed])


@pytest.mark.slow
@needs_toolchain
def test_the_same_input_gives_the_same_package(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Bit for bit, though the vendor's writer numbers packages at random."""
    model = checkpoint(sentence_transformers=True)
    files = [build(model, tmp_path / name)[0].manifest["files"] for name in ("a", "b")]
    assert files[0] == files[1]
    assert WEIGHTS in files[0]


@pytest.mark.slow
@needs_toolchain
def test_without_rounding_it_is_float16(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """Scheme "none": no int8 weight, every tensor in 16 bits."""
    wishes = Recipe(shapes=RECIPE.shapes, quantize=QuantizeTable(scheme="none"))
    bundle, _ = build(checkpoint(sentence_transformers=True), tmp_path / "dist", wishes)
    shown = inspect_file(bundle.folder)
    assert "constexpr_affine_dequantize" not in shown["operators"]
    assert "int8" not in shown["bytes_by_format"]
    assert {row["format"] for row in shown["linears"]} == {"float16"}
    assert bundle.manifest["accuracy"]["mean"] > 0.99999


@pytest.mark.slow
@needs_toolchain
def test_an_operator_without_a_form_is_named(tmp_path: Path, odd: Path) -> None:
    """One line; nothing is written."""
    wishes = Recipe(calibration=CalibrationTable(data="random", samples=16))
    with pytest.raises(UnsupportedError, match=r"\(Shrink\) has no Core ML form; choose another"):
        build(odd, tmp_path / "dist", wishes)
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
@needs_toolchain
def test_smoke_on_linux_asks_for_a_mac(
    checkpoint: Callable[..., Path], tmp_path: Path, smoke: Callable[..., Any]
) -> None:
    """Exit code 1 and one line; it does not pretend."""
    bundle, _ = build(checkpoint(), tmp_path / "dist")
    done = smoke("coreml", bundle.folder)
    assert done.returncode == 1
    assert "run this on a Mac" in done.stdout.splitlines()[-1]


def test_a_package_named_outside_of_the_bundle_is_refused(tmp_path: Path) -> None:
    """Folders in a bundle are read; what leads out of it is not."""
    texts = ("edgecompile", "model", "target", "engine", "runtime", "built_with")
    for name in ("../x", "a/../../x", "/x", "a//x", "a/.x"):
        given = {
            "schema": 1, "artifact": name, "golden": {"file": "golden.npz"},
            "files": dict.fromkeys((name, "profile.json", "golden.npz"), "0" * 64),
            "accuracy": {"metric": "cosine", "mean": 1.0, "min": 1.0},
            "recipe": {}, "inputs": {}, "quantization": {}, **dict.fromkeys(texts, "x"),
        }  # fmt: skip
        (tmp_path / "manifest.json").write_text(json.dumps(given))
        with pytest.raises(BundleError, match="no plain file name"):
            read_bundle(tmp_path)


def test_without_toolchain_and_network_nothing_starts(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """One line with the command, exit code 1; nothing written."""
    environment = {
        **os.environ, "EDGECOMPILE_CACHE": str(tmp_path / "cache"), "PIP_CONFIG_FILE": "/dev/null",
        "PIP_INDEX_URL": "http://127.0.0.1:9/simple", "PIP_RETRIES": "0", "PIP_NO_CACHE_DIR": "1",
    }  # fmt: skip
    environment.pop("PIP_FIND_LINKS", None)
    for target, name in (("mac-arm64", "coreml"), ("android-executorch", "executorch")):
        command = [sys.executable, "-m", "edgecompile", "build", tmp_path / "model", "-t", target]
        if not (tmp_path / "model").exists():
            checkpoint()
        done = subprocess.run(
            [*command, "-o", tmp_path / "dist"],
            capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode == 1
        assert f"edgecompile toolchain install {name}" in done.stderr.splitlines()[-1]
        assert not (tmp_path / "dist").exists()

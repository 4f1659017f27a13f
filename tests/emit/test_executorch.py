"""ExecuTorch programs: XNNPACK takes every Linear in int8, and their own runtime executes them."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile import pipeline
from edgecompile.emit import executorch
from edgecompile.errors import ToolchainError, UnsupportedError
from edgecompile.inspect_file import inspect_file
from edgecompile.recipe import CalibrationTable, Recipe, ShapesTable
from edgecompile.toolchain import venv

RECIPE = Recipe(shapes=ShapesTable((1, 32)), calibration=CalibrationTable(samples=16))
needs_toolchain = pytest.mark.skipif(
    venv.installed("executorch") is None, reason="edgecompile toolchain install executorch"
)


def build(model: Path, output: Path, recipe: Recipe = RECIPE) -> pipeline.Bundle:
    """Build for phones."""
    (bundle,) = pipeline.build(model, ["android-executorch"], output, recipe, pipeline.Trace())
    return bundle


@pytest.mark.slow
@needs_toolchain
@pytest.mark.parametrize("family", ["bert", "distilbert"])
def test_a_bundle_is_int8_and_passes_its_own_check(
    family: str, checkpoint: Callable[..., Path], tmp_path: Path, smoke: Callable[..., Any]
) -> None:
    """No Linear is float; smoke.py runs it in ExecuTorch's runtime, at any length."""
    model = checkpoint(family, sentence_transformers=True, vocab_size=200)
    bundle = build(model, tmp_path / "dist")
    accuracy = bundle.manifest["accuracy"]
    assert accuracy["kind"] == "measured"
    assert accuracy["mean"] > 0.998
    assert bundle.manifest["compiled"]["xnnpack_calls"] > 0
    assert not any("linear" in name for name in bundle.manifest["compiled"]["kernels"])
    shown = inspect_file(bundle.folder)
    assert {row["format"].split()[0] for row in shown["linears"]} == {"int8"}
    assert [row["format"] for row in shown["embeddings"]] == ["int8"]
    done = smoke("executorch", bundle.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    measured = json.loads((bundle.folder / "measured.json").read_text())
    built = bundle.manifest["golden"]["mean"]
    assert measured["accuracy"]["mean"] == pytest.approx(built, abs=1e-4)


@pytest.mark.slow
@needs_toolchain
def test_the_same_input_gives_the_same_program(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Bit for bit."""
    model = checkpoint(sentence_transformers=True)
    files = [build(model, tmp_path / name).manifest["files"] for name in ("a", "b")]
    assert files[0] == files[1]


@pytest.mark.slow
@needs_toolchain
def test_a_text_longer_than_the_program_is_one_line(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Shorter ones are not padded: they give what they give alone."""
    bundle = build(checkpoint(sentence_transformers=True), tmp_path / "dist")
    names = ("input_ids", "attention_mask", "token_type_ids")
    feeds = [{name: np.ones((1, length), np.int64) for name in names} for length in (2, 17, 32)]
    answers = executorch.answer_all(bundle.folder / "model.pte", feeds)
    assert all(np.isfinite(answer).all() for (answer,) in answers)
    long = {name: np.ones((1, 48), np.int64) for name in names}
    with pytest.raises(ToolchainError, match="48 tokens: the program takes up to 32") as caught:
        executorch.answer_all(bundle.folder / "model.pte", [long])
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@needs_toolchain
def test_an_operator_without_a_form_is_named(tmp_path: Path, odd: Path) -> None:
    """One line; nothing is written."""
    wishes = Recipe(calibration=CalibrationTable(data="random", samples=16))
    with pytest.raises(UnsupportedError, match=r"\(Shrink\) has no ExecuTorch form"):
        build(odd, tmp_path / "dist", wishes)
    assert not (tmp_path / "dist").exists()

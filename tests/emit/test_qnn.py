"""Qualcomm's own compiler and emulator take what is written, whole, and answer as float does."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from edgecompile import pipeline, target
from edgecompile.cache_folder import cache_folder
from edgecompile.emit import qnn
from edgecompile.errors import GateError, ToolchainError, UnsupportedError
from edgecompile.recipe import CalibrationTable, GateTable, QuantizeTable, Recipe, ShapesTable
from edgecompile.toolchain import venv

RECIPE = Recipe(
    shapes=ShapesTable((1, 32)),
    calibration=CalibrationTable(samples=16),
    gate=GateTable(0.99, 0.5),
)
needs_toolchain = pytest.mark.skipif(
    venv.installed("qnn") is None, reason="edgecompile toolchain install qnn"
)


def build(model: Path, output: Path, recipe: Recipe = RECIPE) -> pipeline.Bundle:
    """Build for one chip."""
    (bundle,) = pipeline.build(model, ["snapdragon-8-gen-3"], output, recipe, pipeline.Trace())
    return bundle


@pytest.mark.slow
@needs_toolchain
@pytest.mark.parametrize(
    ("family", "profile"),
    [("bert", "accurate"), ("bert", "fast"), ("distilbert", "accurate"), ("roberta", "accurate")],
)
def test_a_bundle_is_one_node_and_passes_its_own_check(
    family: str,
    profile: str,
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    smoke: Callable[..., Any],
) -> None:
    """The emulator judged it; smoke.py runs it again and times nothing: it is no device."""
    wishes = Recipe(
        shapes=RECIPE.shapes,
        calibration=RECIPE.calibration,
        quantize=QuantizeTable(profile=profile),
    )
    model = checkpoint(family, sentence_transformers=profile == "accurate")
    bundle = build(model, tmp_path / "dist", wishes)
    graph = onnx.load(bundle.folder / "model.onnx").graph
    assert [node.op_type for node in graph.node] == ["EPContext"]
    assert bundle.manifest["accuracy"]["mean"] > 0.998
    assert bundle.manifest["accuracy"]["kind"] == "emulated"
    assert "AI Stack License" in bundle.manifest["toolchain"]["licence"]
    rows = {(row["name"], row["model"]): row["value"] for row in bundle.profile["numbers"]}
    assert rows["npu_share_ops", "artifact"] == 1.0
    assert rows["size", "artifact"] > (bundle.folder / "model.onnx.bin").stat().st_size
    done = smoke("qnn", bundle.folder)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "not measured: this machine emulates the NPU" in done.stdout
    assert json.loads((bundle.folder / "measured.json").read_text())["latency"] == []


@pytest.mark.slow
@needs_toolchain
def test_tables_may_stay_on_the_host(
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    smoke: Callable[..., Any],
) -> None:
    """By the target's form: the NPU reads what the CPU looked up, smoke.py runs both as one."""
    text = target.path_of("snapdragon-8-gen-3").read_text(encoding="utf-8")
    (tmp_path / "targets").mkdir()
    own = tmp_path / "targets" / "snapdragon-8-gen-3.toml"
    own.write_text(f'{text}tables = "host"\n', encoding="utf-8")
    monkeypatch.setattr(target, "targets_dir", lambda: tmp_path / "targets")
    bundle = build(checkpoint(sentence_transformers=True), tmp_path / "dist")
    graphs = [onnx.load(bundle.folder / name).graph for name in ("model.onnx", "tables.onnx")]
    assert [node.op_type for node in graphs[0].node] == ["EPContext"]
    assert "Gather" in {node.op_type for node in graphs[1].node}
    assert "MatMul" not in {node.op_type for node in graphs[1].node}
    assert bundle.manifest["accuracy"]["mean"] > 0.998
    rows = {(row["name"], row["model"]): row["value"] for row in bundle.profile["numbers"]}
    assert 0.5 < rows["npu_share_ops", "artifact"] < 1
    sizes = [
        (bundle.folder / f"{name}").stat().st_size for name in ("tables.onnx", "model.onnx.bin")
    ]
    assert rows["size", "artifact"] > sum(sizes)
    done = smoke("qnn", bundle.folder)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@needs_toolchain
def test_the_same_input_gives_the_same_binary(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Bit for bit."""
    model = checkpoint(sentence_transformers=True)
    files = [build(model, tmp_path / name).manifest["files"] for name in ("a", "b")]
    assert files[0] == files[1]


@pytest.mark.slow
@needs_toolchain
def test_an_operator_that_the_npu_does_not_take_is_named(tmp_path: Path, odd: Path) -> None:
    """Strict mode refuses it; another compilation says which it is."""
    wishes = Recipe(calibration=CalibrationTable(data="random", samples=16))
    with pytest.raises(UnsupportedError, match=r"does not take '.*' \(Shrink\).*choose another"):
        build(odd, tmp_path / "dist", wishes)
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
@needs_toolchain
def test_a_vendor_crash_is_one_line_and_leaves_nothing(
    checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real compiler, killed at work by a time limit."""
    monkeypatch.setattr(qnn, "COMPILE_LIMIT_S", 0.2)
    with pytest.raises(ToolchainError) as caught:
        build(checkpoint(), tmp_path / "dist")
    assert "\n" not in str(caught.value)
    assert str(cache_folder()) in str(caught.value)
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
@needs_toolchain
def test_below_the_gate_there_is_no_ladder(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """The line says what to do."""
    strict = Recipe(
        shapes=RECIPE.shapes, calibration=RECIPE.calibration, gate=GateTable(cosine_mean=1.0)
    )
    with pytest.raises(GateError, match="profile = 'accurate', or lower"):
        build(checkpoint(), tmp_path / "dist", strict)


def test_without_toolchain_and_network_nothing_starts(
    tmp_path: Path, build_offline: Callable[..., Any]
) -> None:
    """One line with the command, exit code 1, before the model is read; nothing written."""
    done = build_offline("qcs8550")
    assert done.returncode == 1
    assert "edgecompile toolchain install qnn" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "dist").exists()

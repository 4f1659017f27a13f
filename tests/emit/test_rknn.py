"""Rockchip's own compiler and simulator take what is written, and answer as float does."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgecompile import pipeline
from edgecompile.cache_folder import cache_folder
from edgecompile.device import run_parts
from edgecompile.emit import rknn
from edgecompile.engines import engine
from edgecompile.errors import DataError, GateError, ToolchainError, UnsupportedError
from edgecompile.export.read_model import find_source
from edgecompile.prepare import prepare
from edgecompile.recipe import CalibrationTable, GateTable, QuantizeTable, Recipe, ShapesTable
from edgecompile.rockchip import compile_encoder
from edgecompile.target import load
from edgecompile.toolchain import venv

RECIPE = Recipe(
    shapes=ShapesTable((1, 32)),
    calibration=CalibrationTable(samples=16),
    gate=GateTable(0.99, 0.5),
)
INPUTS = ("input_ids", "attention_mask", "token_type_ids")
needs_toolchain = pytest.mark.skipif(
    venv.installed("rknn") is None, reason="edgecompile toolchain install rknn"
)
STAND_IN = '''
"""In the place of rknn-toolkit-lite2, which runs on boards alone: the encoder in float."""
import onnxruntime


class RKNNLite:
    def load_rknn(self, path):
        self.session = onnxruntime.InferenceSession({graph!r})
        return 0 if open(path, "rb").read(4) == b"RKNN" else -1

    def init_runtime(self):
        return {status}

    def inference(self, inputs):
        names = [i.name for i in self.session.get_inputs()]
        return [a[None] for a in self.session.run(None, dict(zip(names, inputs, strict=True)))]
'''


def build(
    model: Path, output: Path, recipe: Recipe = RECIPE, target: str = "rk3588-npu"
) -> pipeline.Bundle:
    """Build for one chip."""
    (bundle,) = pipeline.build(model, [target], output, recipe, pipeline.Trace())
    return bundle


def wishing(**wishes: str) -> Recipe:
    """Return the recipe with another [quantize]."""
    return replace(RECIPE, quantize=QuantizeTable(**wishes))


@pytest.mark.slow
@needs_toolchain
@pytest.mark.parametrize(
    ("target", "family"),
    [("rk3588-npu", "bert"), ("rk3576-npu", "distilbert"), ("rk3566-npu", "roberta")],
)
def test_the_simulator_judges_and_the_log_says_where_operators_run(
    target: str, family: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Linears are int8, all else is float16; what the CPU runs is named."""
    model = checkpoint(family, sentence_transformers=True)
    bundle = build(model, tmp_path / "dist", target=target)
    assert bundle.manifest["accuracy"]["mean"] > 0.998
    assert bundle.manifest["accuracy"]["kind"] == "emulated"
    assert "RKNN SDK License" in bundle.manifest["toolchain"]["licence"]
    compiled = bundle.manifest["compiled"]
    assert compiled["profile"] == "accurate"
    assert compiled["operators"]["Conv INT8 NPU"] == 12
    assert not [kind for kind in compiled["operators"] if kind.startswith("Add INT8")]
    rows = {(row["name"], row["model"]): row["value"] for row in bundle.profile["numbers"]}
    assert rows["npu_share_macs", "artifact"] == 1
    assert rows["dram_bytes", "artifact"] > 10_000
    parts = ("embed.onnx", "pool.onnx", "encoder.rknn")
    assert rows["size", "artifact"] == sum((bundle.folder / n).stat().st_size for n in parts)
    clean = target != "rk3566-npu"
    assert (rows["npu_share_ops", "artifact"] == 1) == clean
    assert {row["operator"] for row in compiled["on_cpu"]} <= {"exSoftmax13", "Reshape"}


@pytest.mark.slow
@needs_toolchain
@pytest.mark.parametrize("target", ["rk3588-npu", "rk3576-npu", "rk3566-npu"])
def test_the_same_input_gives_the_same_bytes(
    target: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Though the compiler writes memory that it never set."""
    model = checkpoint(sentence_transformers=True)
    files = [build(model, tmp_path / name, target=target).manifest["files"] for name in ("a", "b")]
    assert files[0] == files[1]


@pytest.mark.slow
@needs_toolchain
@pytest.mark.parametrize(("status", "said"), [(0, "ok    all checks passed"), (-1, "refuses it")])
def test_a_bundle_runs_its_parts_as_one(
    status: int, said: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """smoke.py pads, looks up, hands the encoder its inputs in order, pools: here without NPU."""
    bundle = build(
        checkpoint(sentence_transformers=True), tmp_path / "dist", wishing(scheme="none")
    )
    assert bundle.manifest["compiled"]["profile"] == "float16"
    assert bundle.manifest["accuracy"]["mean"] > 0.99999
    digest = bundle.manifest["files"]["encoder.rknn"]
    graph = cache_folder() / "rknn" / digest[:16] / "encoder.onnx"
    site = tmp_path / "site"
    (site / "rknnlite").mkdir(parents=True)
    (site / "rknnlite" / "api.py").write_text(STAND_IN.format(graph=str(graph), status=status))
    (site / "rknn_toolkit_lite2-2.5.0.dist-info").mkdir()
    metadata = site / "rknn_toolkit_lite2-2.5.0.dist-info" / "METADATA"
    metadata.write_text("Metadata-Version: 2.1\nName: rknn-toolkit-lite2\nVersion: 2.5.0\n")
    done = subprocess.run(
        [sys.executable, bundle.folder / "smoke.py", "--once"],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(site)},
    )  # fmt: skip
    assert said in done.stdout, done.stdout + done.stderr
    assert done.returncode == (status != 0)


@pytest.mark.slow
@needs_toolchain
def test_what_the_simulator_has_not_compiled_it_does_not_run(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """A bundle of another machine: the line says what to do. A longer text is refused, too."""
    bundle = build(checkpoint(sentence_transformers=True), tmp_path / "dist")
    artifact = bundle.folder / bundle.manifest["artifact"]
    ids = np.ones((1, 40), np.int64)
    with pytest.raises(DataError, match=r"\[1, 40\]: the artifact takes \[1, 32\]"):
        engine("rknn").runner(artifact)(dict.fromkeys(INPUTS, ids))
    encoder = bundle.folder / "encoder.rknn"
    encoder.write_bytes(encoder.read_bytes() + b"\0")
    short = dict.fromkeys(INPUTS, ids[:, :8])
    with pytest.raises(ToolchainError, match="build the bundle again"):
        engine("rknn").runner(artifact)(short)


@pytest.mark.slow
@needs_toolchain
def test_a_profile_below_the_gate_gives_way_to_the_next(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """All int8 comes first, then float16 around Linears; below that there is no ladder."""
    model = checkpoint(sentence_transformers=True)
    loose = build(model, tmp_path / "fast", wishing(profile="fast"))
    assert loose.manifest["compiled"]["profile"] == "fast"
    assert loose.manifest["compiled"]["operators"]["exNorm INT8 NPU"] == 4
    said: list[str] = []
    trace = pipeline.Trace(lambda _stage, line: said.append(line))
    wishes = replace(wishing(profile="fast"), gate=GateTable(1.01, 0.5))
    with pytest.raises(GateError, match="scheme = 'none'"):
        list(pipeline.build(model, ["rk3588-npu"], tmp_path / "strict", wishes, trace))
    assert [line for line in said if "profile fast" in line and "trying the next" in line]


@pytest.mark.slow
@needs_toolchain
def test_an_operator_that_the_npu_does_not_take_is_named(tmp_path: Path, odd: Path) -> None:
    """The vendor would run it on the CPU without a word; nothing is written."""
    wishes = Recipe(calibration=CalibrationTable(data="random", samples=16))
    with pytest.raises(UnsupportedError, match=r"does not take '.*' \(Shrink\)") as caught:
        build(odd, tmp_path / "dist", wishes)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "dist").exists()


@pytest.mark.slow
@needs_toolchain
def test_the_vendors_refusal_is_one_line(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """Its tracebacks end with the reason: a chip that it does not know."""
    wrong = replace(load("rk3588-npu"), chip=("target_platform=rk9999",), lengths=(32,))
    prepared = prepare(find_source(checkpoint()), RECIPE, pipeline.Trace(), outputs=True)
    with pytest.raises(ToolchainError, match="rk9999") as caught:
        rknn.write(pipeline.lower(prepared.model, prepared.plan, wrong), tmp_path, {})
    assert "\n" not in str(caught.value)


@pytest.mark.slow
@needs_toolchain
def test_a_compiler_that_hangs_is_one_line_and_leaves_nothing(
    checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real compiler, killed at work by a time limit."""
    monkeypatch.setattr(compile_encoder, "COMPILE_LIMIT_S", 0.5)
    with pytest.raises(ToolchainError, match=r"did not end within 0\.5 s") as caught:
        build(checkpoint(), tmp_path / "dist")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "dist").exists()


def test_without_toolchain_and_network_nothing_starts(
    tmp_path: Path, build_offline: Callable[..., Any]
) -> None:
    """One line with the command, exit code 1, before the model is read; nothing written."""
    done = build_offline("rk3576-npu")
    assert done.returncode == 1
    assert "edgecompile toolchain install rknn" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "dist").exists()


def test_bundles_hold_what_smoke_py_imports() -> None:
    """run_parts.py needs nothing of edgecompile: it is copied as it is."""
    code = (
        "import sys; sys.modules['edgecompile'] = None; sys.path.insert(0, '.'); import run_parts"
    )
    folder = Path(run_parts.__file__).parent
    subprocess.run([sys.executable, "-c", code], cwd=folder, check=True)

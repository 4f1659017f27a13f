"""OpenVINO runs the artifact as onnxruntime does, and tells nobody."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from edgecompile import pipeline
from edgecompile.emit import openvino as engine
from edgecompile.errors import MissingRuntimeError
from edgecompile.evaluate.accuracy import cosine
from edgecompile.recipe import GateTable, ProfileTable, Recipe
from edgecompile.session import session_options

needs_openvino = pytest.mark.skipif(
    find_spec("openvino") is None, reason="openvino is not installed"
)
LOOSE = Recipe(profile=ProfileTable((8,), 1), gate=GateTable(0.9, 0.5))


@pytest.fixture
def artifact(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a tiny artifact for OpenVINO."""
    model = checkpoint(sentence_transformers=True)
    wishes = LOOSE
    trace = pipeline.Trace()
    (bundle,) = pipeline.build(model, ["x86-64:openvino"], tmp_path / "dist", wishes, trace)
    assert bundle.folder.name == "model-x86-64-openvino"
    assert bundle.manifest["engine"] == "openvino"
    return bundle.folder / bundle.manifest["artifact"]


@needs_openvino
@pytest.mark.parametrize("threads", [0, 1])
def test_it_answers_as_onnxruntime_does(artifact: Path, threads: int) -> None:
    """The file is standard ONNX: any batch, length and padding give the same in both."""
    import onnxruntime as ort

    options = session_options(threads=1, optimise=False)
    theirs = ort.InferenceSession(artifact, options, ["CPUExecutionProvider"])
    ours = engine.runner(artifact, threads)
    random = np.random.default_rng(35)
    for batch, length in [(1, 1), (1, 17), (3, 5), (2, 64)]:
        ids = random.integers(5, 100, (batch, length))
        mask = np.ones_like(ids)
        mask[-1, 1 + length // 2 :] = 0
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
        for found, expected in zip(ours(feed), theirs.run(None, feed), strict=True):
            assert found.shape == expected.shape
            assert cosine(found, expected, None) > 0.999


@needs_openvino
def test_answers_outlive_the_next_run(artifact: Path) -> None:
    """A request's memory is used again: what was given is a copy."""
    run = engine.runner(artifact, 1)
    feeds = [
        {
            "input_ids": np.full((1, 6), number),
            "attention_mask": np.ones((1, 6), np.int64),
            "token_type_ids": np.zeros((1, 6), np.int64),
        }
        for number in (7, 8)
    ]
    (first,) = run(feeds[0])
    kept = first.copy()
    run(feeds[1])
    np.testing.assert_array_equal(first, kept)


@needs_openvino
@pytest.mark.parametrize("who", ["edgecompile", "smoke.py"])
def test_it_sends_no_telemetry(who: str, artifact: Path, tmp_path: Path) -> None:
    """OpenVINO keeps its statistics in the home folder: none appear there, nor is it loaded."""
    home = tmp_path / "home"
    home.mkdir()
    code = f"""
import runpy, sys
sys.argv = ["smoke.py"]
if {who!r} == "edgecompile":
    from edgecompile.emit import openvino
    openvino.runner(__import__("pathlib").Path({str(artifact)!r}), 1)
else:
    runpy.run_path({str(artifact.parent / "smoke.py")!r}, run_name="__main__")
print([name for name, m in sys.modules.items() if name.startswith("openvino_telemetry") and m])
"""
    environment = {k: v for k, v in os.environ.items() if k != "CI"} | {"HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.splitlines()[-1] == "[]"
    assert not list(home.iterdir())


@needs_openvino
def test_smoke_checks_an_openvino_bundle(artifact: Path) -> None:
    """On the device numpy and openvino are enough."""
    done = subprocess.run(
        [sys.executable, "-I", artifact.parent / "smoke.py"],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"openvino {engine.runtime_version()}" in done.stdout


def test_a_missing_runtime_is_one_line(
    tmp_path: Path, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work: what is missing and how to get it."""
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingRuntimeError) as caught:
        list(
            pipeline.build(
                checkpoint(), ["x86-64:openvino"], tmp_path / "dist", LOOSE, pipeline.Trace()
            )
        )
    assert str(caught.value) == (
        "openvino is not installed: pip install 'edgecompile[openvino]'; or choose"
        " x86-64:onnxruntime or x86-64:litert"
    )
    assert caught.value.exit_code == 1
    assert not (tmp_path / "dist").exists()

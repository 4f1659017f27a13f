"""Engine tflite_runtime: litert's file, less what the older runtime does wrong, and run by it.

The runtime is the real one, in the environment that builds make in the user's cache.
"""

import dataclasses
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgecompile import pipeline
from edgecompile.emit import litert
from edgecompile.emit import tflite_runtime as engine
from edgecompile.errors import DataError, EdgeCompileError, UnsupportedError
from edgecompile.inspect_file import inspect_file
from edgecompile.passes import passes_of
from edgecompile.recipe import GateTable, ProfileTable, Recipe, ShapesTable
from edgecompile.target import load
from edgecompile.tflite import worker

Array = npt.NDArray[Any]

pytest.importorskip("ai_edge_litert")
try:
    engine.runtime_version()
except EdgeCompileError as error:
    pytest.skip(str(error), allow_module_level=True)

LOOSE = Recipe(profile=ProfileTable((8,), 1), gate=GateTable(0.9, 0.5), shapes=ShapesTable((1, 32)))
TARGET = "raspberry-pi-os-32"


def build(model: Path, output: Path, wishes: Recipe = LOOSE) -> pipeline.Bundle:
    """Build for 32-bit Raspberry Pi OS."""
    (bundle,) = pipeline.build(model, [TARGET], output, wishes, pipeline.Trace())
    return bundle


@pytest.fixture
def bundle(checkpoint: Callable[..., Path], tmp_path: Path) -> pipeline.Bundle:
    """Return the bundle of a tiny model."""
    return build(checkpoint(sentence_transformers=True), tmp_path / "dist")


@pytest.fixture
def afresh() -> Iterator[None]:
    """Forget which Python was found, before and after."""
    worker.python.cache_clear()
    yield
    worker.python.cache_clear()


def feed_of(length: int) -> dict[str, Array]:
    """Return a text of random tokens."""
    ids = np.random.default_rng(0).integers(5, 100, (1, length))
    blank = np.zeros_like(ids)
    return {"input_ids": ids, "attention_mask": blank + 1, "token_type_ids": blank}


def test_the_artifact_is_judged_by_the_runtime_that_the_target_names(
    bundle: pipeline.Bundle,
) -> None:
    """Every Linear is int8 in and out; it answers there as LiteRT does here."""
    assert bundle.manifest["built_with"] == "tflite_runtime 2.14.0"
    assert "tflite-runtime" in bundle.manifest["accuracy"]["how"]
    artifact = bundle.folder / bundle.manifest["artifact"]
    linears = inspect_file(artifact)["linears"]
    assert {row["format"] for row in linears} == {"int8 weight, int8 activation, int8 output"}
    old, new = engine.runner(artifact, 1), litert.runner(artifact, 1)
    for length in (5, 8, 20):
        np.testing.assert_allclose(old(feed_of(length)), new(feed_of(length)), atol=0.02)


@pytest.mark.parametrize("family", ["distilbert", "roberta"])
def test_classifiers_become_int8(
    family: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Built for it and run by it, random weights and all."""
    found = build(checkpoint(family, "sequence"), tmp_path / "dist")
    assert found.manifest["accuracy"]["mean"] > 0.9
    rungs = {row["rung"] for row in found.manifest["quantization"]["linears"].values()}
    assert "int8" in rungs


def test_smoke_checks_the_bundle(bundle: pipeline.Bundle) -> None:
    """On the device numpy and tflite-runtime are enough."""
    code = "import runpy, sys; sys.path.insert(0, sys.argv[1]);"
    code += "runpy.run_path(sys.argv[2], None, '__main__')"
    command = [worker.python(), "-I", "-S", "-c", code, worker.wheels(), bundle.folder / "smoke.py"]
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "tflite_runtime 2.14.0 (>=2.14 needed)" in done.stdout


def test_the_ladder_climbs_to_float_alone(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """Dynamic int8 by channel is wrong there: no Linear is on that rung."""
    model = checkpoint(sentence_transformers=True)
    before = build(model, tmp_path / "int8").manifest["accuracy"]["mean"]
    strict = dataclasses.replace(LOOSE, gate=GateTable((1 + before) / 2, 0.5))
    rows = build(model, tmp_path / "dist", strict).manifest["quantization"]["linears"].values()
    assert {row["rung"] for row in rows} == {"int8", "float"}


def test_its_lowering_is_litert_s() -> None:
    """Pass by pass."""
    names = [{p.name for p in passes_of(f"lower/{e}")} for e in ("litert", "tflite_runtime")]
    assert names[0] == names[1]


def test_the_newest_versions_are_the_runtime_s(tmp_path: Path) -> None:
    """Each loads; the next one does not: what the writer believes is what the runtime does."""
    for name, version in engine.NEWEST.items():
        (tmp_path / f"{name}-old.tflite").write_bytes(one_operator(name, version))
        (tmp_path / f"{name}-new.tflite").write_bytes(one_operator(name, version + 1))
    code = """import pathlib, sys
sys.path.insert(0, sys.argv[1])
from tflite_runtime.interpreter import Interpreter
for file in pathlib.Path(sys.argv[2]).iterdir():
    try:
        Interpreter(model_path=str(file))
        print(file.stem)
    except ValueError as error:
        assert "Didn't find op" in str(error), error
"""
    command = [worker.python(), "-I", "-S", "-c", code, worker.wheels(), tmp_path]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == {f"{name}-old" for name in engine.NEWEST}


def one_operator(name: str, version: int) -> bytes:
    """Return a file whose one operator has a version."""
    from edgecompile.tflite.flatbuffer import File
    from edgecompile.tflite.subgraph import Subgraph

    file = File(1 << 20)
    graph = Subgraph(file, "main")
    x, y = (graph.computed(end, [1], np.dtype(np.float32)) for end in "xy")
    graph.write(name, [x], [y], version=version)
    graph.close({"x": x}, {"y": y}, {})
    return file.data("one operator")


# ------------------------------------------------------------------ errors


def test_an_operator_of_a_newer_version_is_one_line(
    graph: Callable[..., Any], tmp_path: Path
) -> None:
    """LiteRT's dynamic int8 Linear, which this runtime would answer wrongly."""
    numbers = {"w": np.ones((3, 4), np.int8), "s": np.ones(3, np.float32)}
    text = """(float[1,4] x) => (float[1,3] y) { y = edgecompile.FullyConnected(x,,,w,s) }"""
    model = graph(text, **numbers)
    with pytest.raises(UnsupportedError, match=r"^'y': this runtime has no FULLY_CONNECTED of ver"):
        engine.write(model, tmp_path, {})
    assert not list(tmp_path.iterdir())


def test_engines_without_wheels_there_are_one_line() -> None:
    """Which machines they have wheels for, and what to take."""
    for other in ("onnxruntime", "litert"):
        with pytest.raises(UnsupportedError) as caught:
            load(f"{TARGET}:{other}")
        assert str(caught.value) == (
            f"{TARGET} is armv7l, {other} has wheels for x86_64 and aarch64 alone; take"
            f" {TARGET}:tflite_runtime"
        )


@pytest.mark.usefixtures("afresh")
def test_a_python_that_it_has_no_wheels_for_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before any work."""
    monkeypatch.setattr(worker, "PYTHON", "3.99")
    with pytest.raises(
        UnsupportedError, match=r"^tflite-runtime has wheels up to Python 3.99, and"
    ):
        worker.python()


def test_what_does_not_run_is_one_line(bundle: pipeline.Bundle) -> None:
    """A text that is too long, a broken file, a process that is killed."""
    artifact = bundle.folder / bundle.manifest["artifact"]
    run = engine.runner(artifact, 1)
    with pytest.raises(DataError, match=r"^a text of 33 tokens: .* longest length is 32$"):
        run(feed_of(33))
    assert run(feed_of(5))[0].shape == (1, 32)
    os.kill(run.__self__.process.pid, signal.SIGKILL)  # type: ignore[attr-defined]
    with pytest.raises(UnsupportedError, match="it ended with -9: no word"):
        run(feed_of(5))
    artifact.write_bytes(b"TFL3" * 9)
    with pytest.raises(
        UnsupportedError, match=r"^tflite-runtime does not run the artifact: [^\n]*$"
    ):
        engine.runner(artifact, 1)(feed_of(5))

"""The artifact as a file: the same bytes each time, and external data where it is large."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from edgecompile.emit.onnxruntime import ARTIFACT, ONE_FILE_BYTES, runner, runtime_version, write

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Run = Callable[..., list[Array]]

W = np.random.default_rng(22).normal(size=(64, 64)).astype(np.float32)
X = {"x": np.random.default_rng(23).normal(size=(2, 5, 64)).astype(np.float32)}
TEXT = "(float[b,s,64] x) => (float[b,s,64] y) { m = MatMul(x, w) y = Add(m, b) }"


@pytest.fixture
def model(graph: Parse) -> ir.Model:
    """Return a Linear of 16 kB."""
    model = graph(TEXT, w=W, b=W[0])
    model.metadata_props["left over"] = "from a pass"
    return model


def test_one_file_by_default(model: ir.Model, tmp_path: Path, run: Run) -> None:
    """Weights lie in the file, and it computes the same."""
    assert write(model, tmp_path, {}) == [ARTIFACT]
    assert [path.name for path in tmp_path.iterdir()] == [ARTIFACT]
    onnx.checker.check_model(str(tmp_path / ARTIFACT), full_check=True)
    np.testing.assert_array_equal(run(tmp_path / ARTIFACT, X)[0], run(model, X)[0])


def test_weights_over_the_limit_go_beside_it(model: ir.Model, tmp_path: Path, run: Run) -> None:
    """A protobuf holds 2 GB: beyond the limit there are two files, the one to load first."""
    names = write(model, tmp_path, {}, one_file_bytes=W.nbytes)
    assert names == [ARTIFACT, f"{ARTIFACT}.data"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)
    assert (tmp_path / ARTIFACT).stat().st_size < 4096
    assert (tmp_path / names[1]).stat().st_size >= W.nbytes
    np.testing.assert_array_equal(run(tmp_path / ARTIFACT, X)[0], run(model, X)[0])


def test_the_limit_is_below_that_of_a_protobuf(model: ir.Model, tmp_path: Path) -> None:
    """At the limit and above there are two files, just below it one."""
    size = W.nbytes + W[0].nbytes
    assert len(write(model, tmp_path, {}, one_file_bytes=size)) == 2
    assert len(write(model, tmp_path, {}, one_file_bytes=size + 1)) == 1
    assert ONE_FILE_BYTES < 2**31


@pytest.mark.parametrize("limit", [ONE_FILE_BYTES, 0], ids=["one file", "external data"])
def test_two_writes_are_the_same_bytes(model: ir.Model, tmp_path: Path, limit: int) -> None:
    """Whatever was written before, and wherever to."""
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        names = write(model, folder, {"b": "2", "a": "1"}, one_file_bytes=limit)
        contents.append([(folder / n).read_bytes() for n in names])
    assert contents[0] == contents[1]


def test_metadata_is_what_was_asked_for(model: ir.Model, tmp_path: Path) -> None:
    """The artifact says what it is, and keeps nothing of the passes' own notes."""
    write(model, tmp_path, {"edgecompile": "1", "edgecompile.target": "board"})
    written = onnx.load(tmp_path / ARTIFACT)
    found = {p.key: p.value for p in written.metadata_props}
    assert found == {"edgecompile": "1", "edgecompile.target": "board"}


@pytest.mark.parametrize("limit", [ONE_FILE_BYTES, 0])
def test_the_graph_that_is_written_is_left_alone(
    model: ir.Model, tmp_path: Path, limit: int
) -> None:
    """Writing is no pass: metadata and weights of the model stay in memory."""
    before = ir.to_proto(model).SerializeToString(deterministic=True)
    write(model, tmp_path, {"a": "b"}, one_file_bytes=limit)
    assert ir.to_proto(model).SerializeToString(deterministic=True) == before


@pytest.mark.parametrize("limit", [ONE_FILE_BYTES, 0])
def test_the_runner_runs_the_file(model: ir.Model, tmp_path: Path, run: Run, limit: int) -> None:
    """As its user would: default session options, on any number of threads."""
    (name, *_) = write(model, tmp_path, {}, one_file_bytes=limit)
    for threads in (0, 1, 2):
        (y,) = runner(tmp_path / name, threads)(X)
        np.testing.assert_allclose(y, run(model, X)[0], rtol=0, atol=1e-5)


def test_the_runtime_says_its_version() -> None:
    """For the manifest."""
    import onnxruntime

    assert runtime_version() == onnxruntime.__version__

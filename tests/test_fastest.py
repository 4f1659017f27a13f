"""`-t TARGET:fastest`: every engine is judged and timed, one is kept, all are told of."""

import json
import subprocess
import sys
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from edgecompile import fastest, pipeline, target
from edgecompile.errors import GateError, MissingRuntimeError, UnsupportedError
from edgecompile.recipe import GateTable, ProfileTable, Recipe

LOOSE = Recipe(profile=ProfileTable((8,), 3), gate=GateTable(0.9, 0.5))
BOARDS = target.load_each("x86-64:fastest")
ENGINES = [board.engine for board in BOARDS]
TWO = BOARDS[:2]


def bundle_in(board: target.Target, folder: Path) -> pipeline.Bundle:
    """Make a bundle that has what matters here."""
    manifest = {
        "artifact": "model.onnx",
        "engine": board.engine,
        "accuracy": {"metric": "cosine", "mean": 0.999, "min": 0.99},
    }
    for name in ("model.onnx", "manifest.json"):
        (folder / name).write_text(json.dumps(manifest))
    return pipeline.Bundle(folder, manifest, {})


def timed(**milliseconds: float) -> Callable[[Mapping[str, Path]], Mapping[str, fastest.Timed]]:
    """Return a clock that knows the engines' times."""

    def measure(artifacts: Mapping[str, Path]) -> Mapping[str, fastest.Timed]:
        assert all(path.is_file() for path in artifacts.values())
        return {name: {"ms": milliseconds[name], "sequence": 8} for name in artifacts}

    return measure


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let every engine look installed: these tests run none."""
    for name in ENGINES:
        monkeypatch.setattr(f"edgecompile.emit.{name}.runtime_version", lambda: "9999.0")


@pytest.mark.parametrize("winner", ENGINES)
def test_the_fastest_is_kept(winner: str, tmp_path: Path) -> None:
    """Its files move up, the others' go; the manifest on disk holds the table."""
    times = {name: 1.0 if name == winner else 2.0 for name in ENGINES}
    found = fastest.compile_fastest(BOARDS, tmp_path, bundle_in, timed(**times))
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "manifest.json"}
    written = json.loads((tmp_path / "manifest.json").read_text())
    assert written == found.manifest
    assert written["engine"] == winner
    rows = {row["engine"]: row for row in written["engines"]}
    assert {name: row["ms"] for name, row in rows.items()} == times
    assert [name for name, row in rows.items() if row["kept"]] == [winner]
    assert {row["why"] for row in rows.values()} == {"the fastest", f"slower than {winner}"}
    assert all(row["mean"] == 0.999 for row in rows.values())


@pytest.mark.parametrize("error", [GateError("below it"), MissingRuntimeError("qnn")])
def test_an_engine_that_fails_is_told_of(error: Exception, tmp_path: Path) -> None:
    """Inaccurate or not installed: no time, the reason, and the other is kept."""

    def compile_into(board: target.Target, folder: Path) -> pipeline.Bundle:
        if board.engine == ENGINES[0]:
            (folder / "half.onnx").write_bytes(b"")
            raise error
        return bundle_in(board, folder)

    found = fastest.compile_fastest(TWO, tmp_path, compile_into, timed(**{ENGINES[1]: 3.0}))
    assert found.manifest["engine"] == ENGINES[1]
    assert found.manifest["engines"][0] == {
        "engine": ENGINES[0], "kept": False, "ms": None, "why": str(error),
    }  # fmt: skip
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx", "manifest.json"}


def test_when_none_passes_the_gate_speaks(tmp_path: Path) -> None:
    """A gate's failure says more than a runtime that is not there."""
    errors = dict(zip(ENGINES, [MissingRuntimeError("qnn"), GateError("below it")], strict=False))

    def compile_into(board: target.Target, _folder: Path) -> pipeline.Bundle:
        raise errors[board.engine]

    with pytest.raises(GateError, match="below it"):
        fastest.compile_fastest(TWO, tmp_path, compile_into, timed())


def test_a_foreign_target_cannot_be_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work, with what can be chosen instead."""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(UnsupportedError) as caught:
        list(pipeline.build(tmp_path, ["x86-64:fastest"], tmp_path, LOOSE, pipeline.Trace()))
    assert str(caught.value) == (
        "x86-64:fastest cannot be measured: this host is riscv64, x86-64 is x86_64; choose one of"
        " x86-64, x86-64:litert, x86-64:openvino"
    )


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
def test_engines_are_measured_and_shown(
    checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The real thing: a bundle in the target's own folder, a table of measured times, printed."""
    monkeypatch.undo()
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text("[profile]\nsequence = [8]\nrepeats = 3\n[gate]\ncosine_mean = 0.9\n")
    done = subprocess.run(
        [sys.executable, "-m", "edgecompile", "build", checkpoint(), "-t", "x86-64:fastest",
         "-o", tmp_path / "dist", "--recipe", recipe],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    (folder,) = (tmp_path / "dist").iterdir()
    assert folder.name == "model-x86-64"
    manifest = json.loads((folder / "manifest.json").read_text())
    rows = manifest["engines"]
    assert [row["engine"] for row in rows] == ENGINES
    assert [row["engine"] for row in rows if row["kept"]] == [manifest["engine"]]
    assert all(row["ms"] > 0 and row["kind"] == "measured" and row["how"] for row in rows)
    assert all(row["engine"] in done.stdout for row in rows)
    assert "kept: the fastest" in done.stdout
    stages = {step["stage"] for step in manifest["steps"]}
    assert {s for s in stages if s.startswith("lower/")} == {f"lower/{manifest['engine']}"}


def test_an_engine_without_the_scheme_is_left_out(tmp_path: Path) -> None:
    """The others are timed; its row says why it was not built."""
    reason = "is not made for it"

    def compile_into(board: target.Target, folder: Path) -> pipeline.Bundle:
        if board.engine == ENGINES[1]:
            raise UnsupportedError(reason)
        return bundle_in(board, folder)

    found = fastest.compile_fastest(TWO, tmp_path, compile_into, timed(onnxruntime=1.0))
    rows = {row["engine"]: row["why"] for row in found.manifest["engines"]}
    assert rows == {"onnxruntime": "the fastest", ENGINES[1]: reason}

"""Engines of other packages: installed, they are targets like ours."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

TARGET = """
description = "a board of somebody else's"
engine = "theirs"
isa = "any"

[theirs]
activation = "uint8"
weight = "int8"
opset = 21
runtime = ">=1.24"
"""
EMIT = """
from edgecompile.emit.onnxruntime import PACKAGE, runner, runtime_version, write
ISAS = ("any",)
HOW = "by their own runtime"


def inspect(artifact):
    from edgecompile.inspect_file import inspect_file
    return inspect_file(artifact, widths=False) | {"operators": {"Theirs": 1}}
"""
LOWER = """
FORMS = {"attention": ("packed",), "gelu": ("erf",), "linear": ("matmul",)}
"""
PASSES = """
from edgecompile.lower.onnxruntime.apply_equalisation import apply_equalisation
from edgecompile.lower.onnxruntime.convert_gelu import convert_gelu
from edgecompile.lower.onnxruntime.expand_attention import expand_attention
from edgecompile.lower.onnxruntime.quantize_embeddings import quantize_embeddings
from edgecompile.lower.onnxruntime.quantize_linears import quantize_linears
from edgecompile.lower.onnxruntime.replace_residual_add import replace_residual_add
from edgecompile.lower.onnxruntime.set_opset import set_opset
"""
DEVICE = Path(__file__).parents[1] / "edgecompile" / "device"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a folder for PYTHONPATH in which a package with an engine is installed."""
    site = tmp_path / "site"
    package = site / "their_engine"
    (package / "lower").mkdir(parents=True)
    (package / "targets").mkdir()
    (package / "__init__.py").touch()
    (package / "emit.py").write_text(EMIT)
    (package / "lower" / "__init__.py").write_text(LOWER)
    (package / "lower" / "passes.py").write_text(PASSES)
    (package / "targets" / "their-board.toml").write_text(TARGET)
    (package / "runtime.py").write_text((DEVICE / "runtimes" / "onnxruntime.py").read_text())
    install(site, "one", "their_engine")
    return site


def install(site: Path, name: str, package: str) -> None:
    """Write what pip leaves of a distribution that offers the engine."""
    about = site / f"{name}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[edgecompile.engines]\ntheirs = {package}\n")


def call(site: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run edgecompile where the package is installed."""
    paths = os.pathsep.join([str(site), str(Path(__file__).parents[1])])
    return subprocess.run(
        [sys.executable, "-m", "edgecompile", *map(str, words)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": paths},
    )  # fmt: skip


def test_an_outside_engine_builds_its_target(
    site: Path, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Listed, built with its own passes, judged, and run by its own program on the device."""
    assert "their-board" in call(site, "targets").stdout
    model = checkpoint(sentence_transformers=True)
    done = call(site, "build", model, "-t", "their-board", "-o", tmp_path / "dist")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "dist" / "model-their-board"
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["accuracy"]["how"] == "by their own runtime"
    assert {step["stage"] for step in manifest["steps"]} >= {"lower/theirs"}
    smoke = [sys.executable, "-I", folder / "smoke.py", "--once"]
    assert subprocess.run(smoke, check=False, capture_output=True).returncode == 0
    assert json.loads(call(site, "inspect", folder, "--json").stdout)["operators"] == {"Theirs": 1}


def test_an_outside_engines_code_counts_as_ours(site: Path) -> None:
    """Another version of it takes nothing of a finished stage from the cache."""
    code = "from edgecompile.cache.digest import code_version; print(code_version())"
    paths = os.pathsep.join([str(site), str(Path(__file__).parents[1])])

    def ask() -> str:
        return subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True,
            env={**os.environ, "PYTHONPATH": paths},
        ).stdout  # fmt: skip

    first = ask()
    assert ask() == first
    (site / "their_engine" / "lower" / "passes.py").write_text(PASSES + "# changed\n")
    assert ask() != first


def test_an_outside_engine_brings_its_compiler(site: Path) -> None:
    """The toolchain is listed, with its licence, as ours are."""
    folder = site / "their_engine" / "toolchain"
    folder.mkdir()
    (folder / "their_tool.txt").write_text("their-tool==1.0 --hash=sha256:00\n")
    (folder / "their_tool.toml").write_text(
        'what = "a compiler"\npackage = "their-tool"\nversion = "1.0"\nlicence = "MIT"\n'
        'imports = "their_tool"\nmachines = ["z80"]\ndownload_mb = 1\n'
    )
    told = call(site, "toolchain", "list").stdout
    assert "their_tool   their-tool 1.0: cannot be used here: it runs on z80" in told
    assert "licence: MIT" in told
    assert "qnn" in told


def test_two_packages_of_one_engine_are_one_line(site: Path) -> None:
    """Which, and what to do."""
    install(site, "two", "another_engine")
    done = call(site, "targets")
    assert done.returncode == 1
    assert done.stderr.startswith("error: engine theirs: two installed packages have it: ")


def test_a_package_that_is_gone_is_one_line(site: Path) -> None:
    """The entry point is left, the files are not."""
    (site / "their_engine").rename(site / "elsewhere")
    done = call(site, "targets")
    assert (done.returncode, done.stderr) == (
        1, "error: engine theirs: its package 'their_engine' cannot be found; install it again\n"
    )  # fmt: skip

"""In a clean environment without a network: install, build, verify, run the bundle's own check."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[1]
NO_NETWORK = ("unshare", "--net", "--map-root-user")
"""A network namespace of its own, where not even the loopback is up; users may make one too."""


def call(*words: object, cwd: Path, offline: bool = True) -> subprocess.CompletedProcess[str]:
    """Run a command with nothing of this environment but PATH, and no network."""
    command = [*(NO_NETWORK if offline else ()), *map(str, words)]
    env = {"PATH": os.environ["PATH"], "HOME": str(cwd), "LANG": "C.UTF-8"}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the Python of a new environment that holds the locked core and this package."""
    if shutil.which("unshare") is None:
        pytest.skip("there is no unshare: it is in util-linux")
    place = tmp_path_factory.mktemp("clean")
    probe = call(sys.executable, "-c", "", cwd=place)
    if probe.returncode:
        pytest.skip(f"no network namespace may be made here: {probe.stderr.strip()}")
    subprocess.run([sys.executable, "-m", "venv", place / "venv"], check=True)
    pip = [place / "venv" / "bin" / "pip", "install", "--quiet", "--no-deps"]
    locked = [*pip, "--require-hashes", "-r", ROOT / "locks" / "core.txt"]
    done = subprocess.run(locked, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"the locked packages cannot be had: {done.stderr.strip().splitlines()[-1]}")
    source = shutil.copytree(
        ROOT, place / "source", symlinks=True,
        ignore=shutil.ignore_patterns(".*", "models", "dist", "site", "build", "tests"),
    )  # fmt: skip
    subprocess.run([*pip, "--no-build-isolation", source], check=True, capture_output=True)
    shutil.rmtree(source)
    return place / "venv" / "bin" / "python"


def test_there_is_no_network(python: Path, tmp_path: Path) -> None:
    """What the next test relies on."""
    code = "import socket; socket.create_connection(('127.0.0.1', 9), 1)"
    assert "unreachable" in call(python, "-c", code, cwd=tmp_path).stderr


def test_a_bundle_is_built_verified_and_checks_itself(
    python: Path, built: Path, tmp_path: Path
) -> None:
    """From an installed wheel, with what is in it alone: targets, texts, the bundle's programs."""
    shutil.copytree(built / "model", tmp_path / "model")
    shutil.copy(built / "edgecompile.toml", tmp_path)
    command = [python, "-m", "edgecompile", "build", "model", "--recipe", "edgecompile.toml"]
    done = call(*command, "-t", "x86-64", "-t", "aarch64", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "pip install 'edgecompile[sbom]'" in done.stderr
    bundles = sorted((tmp_path / "dist").iterdir())
    assert [bundle.name for bundle in bundles] == ["model-aarch64", "model-x86-64"]
    done = call(python, "-m", "edgecompile", "verify", *bundles, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    done = call(python, "-I", bundles[1] / "smoke.py", cwd=tmp_path)
    assert done.returncode == 0, done.stdout
    assert "all checks passed" in done.stdout

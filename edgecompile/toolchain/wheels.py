"""Wheels of another machine's Python, by hash, from a lock that the package ships."""

import importlib.util
import shutil
import sys
import tempfile
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from edgecompile.errors import FetchError
from edgecompile.files import sha256, write_json
from edgecompile.toolchain.call import call

RECORD = "wheels.json"
"""What was fetched: file, sha256, bytes of each wheel."""
TIME_LIMIT_S = 600


@dataclass(frozen=True, slots=True)
class Wheel:
    """A wheel that was fetched; its hash is one of the lock's."""

    file: str
    sha256: str
    bytes: int


def lock_path(name: str) -> Path:
    """Return the lock of a set of wheels: NAME.txt in this folder, made by locks/update.sh."""
    return Path(__file__).parent / f"{name}.txt"


def fetch_wheels(
    lock: Path, platforms: Sequence[str], python_version: str, into: Path
) -> list[Wheel]:
    """Unpack all wheels of a lock into a folder for PYTHONPATH; write and return which.

    `platforms` are wheel tags ("manylinux_2_28_aarch64"), `python_version` is like "3.11". pip
    takes nothing whose hash is not in the lock, builds nothing and runs nothing. Raises FetchError.
    """
    with tempfile.TemporaryDirectory(prefix=".wheels-", dir=into.parent) as scratch:
        tag = f"cp{python_version.replace('.', '')}"
        command: list[str | Path] = [
            *pip_command(),
            "download",
            "--quiet",
            "--no-cache-dir",
            "--no-deps",
        ]
        command += ["--disable-pip-version-check", "--only-binary=:all:", "--require-hashes"]
        command += ["--dest", scratch, "--requirement", lock, "--python-version", python_version]
        command += ["--implementation", "cp", "--abi", tag, "--abi", "abi3", "--abi", "none"]
        command += [part for platform in platforms for part in ("--platform", platform)]
        call(command, TIME_LIMIT_S, marks=["ERROR:"])
        files = sorted(Path(scratch).glob("*.whl"))
        into.mkdir(parents=True, exist_ok=True)
        for file in files:
            _unpack(file, into)
        wheels = [Wheel(file.name, sha256(file), file.stat().st_size) for file in files]
    write_json(into / RECORD, [asdict(wheel) for wheel in wheels])
    return wheels


def manylinux(architecture: str, newest_glibc: int) -> list[str]:
    """Return the platform tags of a machine with glibc 2.`newest_glibc`, the newest first."""
    tags = [f"manylinux_2_{minor}_{architecture}" for minor in range(newest_glibc, 16, -1)]
    return [*tags, f"manylinux2014_{architecture}"]


def pip_command() -> list[str]:
    """Return how pip is called here: this Python's, else uv's."""
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv"):
        return [uv, "tool", "run", "pip"]
    msg = f"{sys.executable} has no pip, and there is no uv: python -m ensurepip"
    raise FetchError(msg)


def _unpack(wheel: Path, into: Path) -> None:
    """Unpack a wheel; a name in it that leads outside is refused."""
    with zipfile.ZipFile(wheel) as archive:
        for name in archive.namelist():
            if not (into / name).resolve().is_relative_to(into.resolve()):
                msg = f"{wheel.name}: '{name}' would lie outside of it"
                raise FetchError(msg)
        archive.extractall(into)

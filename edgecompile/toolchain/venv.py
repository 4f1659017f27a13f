"""Environments of vendor compilers: each one apart, made once from a hash lock in the user's cache.

NAME.txt in this folder, or in the toolchain/ of an outside engine's package, is the lock; NAME.toml
beside it says what the compiler needs of a host and under which licences it comes. Nothing of a
vendor's is part of this package.
"""

import hashlib
import importlib.metadata
import json
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.cache_folder import cache_folder
from edgecompile.errors import FetchError, ToolchainError, UnknownNameError
from edgecompile.files import write_json
from edgecompile.licences import licence_of
from edgecompile.plugins import folder_of, packages
from edgecompile.tables import fill, read_toml
from edgecompile.toolchain.call import call
from edgecompile.toolchain.once import once
from edgecompile.toolchain.wheels import pip_command

FOLDER = Path(__file__).parent
RECORD = "toolchain.json"
"""What an environment holds: {"name", "lock_sha256", "python", "packages": [{name, version,
licence}], "licence"}."""
TIME_LIMIT_S = 1800
"""The largest environment has 1.5 GB."""


@dataclass(frozen=True, slots=True)
class Toolchain:
    """What NAME.toml says: `licence` is shown before it is installed, and kept in manifests.

    `machines` are those of platform.machine(), `glibc` and `python` the oldest, `before` the first
    Python that is too new. `imports` is the module that must load for it to be in order. `apart`
    is a package of one version that no lock can hold, for its wheels differ by index (torch: some
    are for a CPU alone): pip takes it, and what it asks for, as it is configured.
    """

    name: str
    what: str
    package: str
    version: str
    licence: str
    imports: str
    machines: tuple[str, ...]
    download_mb: int
    python: str = "3.11"
    before: str = ""
    glibc: str = ""
    apart: str = ""


def toolchains() -> list[str]:
    """Return the names of all toolchains."""
    return sorted(_files())


def _files() -> dict[str, Path]:
    """Return the file of each toolchain: ours, and those that come with outside engines."""
    folders = [*(folder_of(engine) / "toolchain" for engine in packages()), FOLDER]
    return {path.stem: path for folder in folders for path in folder.glob("*.toml")}


def read_toolchain(name: str) -> Toolchain:
    """Read one by name."""
    found = _files()
    if name not in found:
        kind = "toolchain"
        raise UnknownNameError(kind, name, found)
    path = found[name]
    return fill(Toolchain, read_toml(path), path, given={"name": name})


def why_unfit(tool: Toolchain) -> str | None:
    """Return why this host cannot run a toolchain, or None."""
    here = sys.version_info[:2]
    shown = ".".join(map(str, here))
    if platform.machine() not in tool.machines:
        return f"it runs on {', '.join(tool.machines)}; this host is {platform.machine()}"
    if here < _numbers(tool.python):
        return f"it needs Python {tool.python} or newer; this is {shown}"
    if tool.before and here >= _numbers(tool.before):
        return f"it needs a Python before {tool.before}; this is {shown}"
    library, found = platform.libc_ver()
    if tool.glibc and (library != "glibc" or _numbers(found) < _numbers(tool.glibc)):
        is_here = f"{library} {found}".strip() or "another C library"
        return f"it needs glibc {tool.glibc} or newer; this host has {is_here}"
    return None


def venv_folder(name: str) -> Path:
    """Return where the environment of this lock and this Python lies, or would."""
    key = hashlib.sha256(_lock(name).read_bytes() + sys.version.encode()).hexdigest()[:12]
    return cache_folder() / "toolchains" / f"{name}-{key}"


def open_venv(name: str, say: Callable[[str, str], None]) -> Path:
    """Return the Python of a toolchain's environment; the first time, it is made.

    Another process that asks meanwhile waits. Raises ToolchainError: a host that cannot run it, no
    network, a full disk; the message has the command to repeat.
    """
    tool, folder = read_toolchain(name), venv_folder(name)
    if not folder.is_dir():
        if reason := why_unfit(tool):
            msg = f"toolchain {name}: {reason}"
            raise ToolchainError(msg)
        doing = f"{name}: installing {tool.package} {tool.version} once, {tool.download_mb} MB"
        say("toolchain", f"{doing}; licence: {tool.licence}")
        try:
            once(folder, lambda scratch: _install(tool, scratch))
        except FetchError as error:
            msg = (
                f"toolchain {name} is not installed: {error}; with a network (or PIP_INDEX_URL, or"
                f" PIP_FIND_LINKS=a folder of wheels): edgecompile toolchain install {name}"
            )
            raise ToolchainError(msg) from error
    return folder / "bin" / "python"


def installed(name: str) -> Mapping[str, Any] | None:
    """Return the record of a toolchain's environment: packages, versions, licences."""
    path = venv_folder(name) / RECORD
    if not path.is_file():
        return None
    found: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return found


def remove_venv(name: str) -> list[Path]:
    """Delete all environments of a toolchain, of other locks and Pythons too; return which."""
    read_toolchain(name)
    found = [p for p in (cache_folder() / "toolchains").glob(f"{name}-*") if p.is_dir()]
    for folder in found:
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
    return found


def _install(tool: Toolchain, folder: Path) -> None:
    """Make a virtual environment without pip, and let this Python's pip fill it by the lock."""
    call([sys.executable, "-m", "venv", "--without-pip", folder], TIME_LIMIT_S)
    pip: list[str | Path] = [*pip_command(), "--python", folder / "bin" / "python"]
    pip += ["install", "--quiet", "--disable-pip-version-check", "--no-input", "--no-compile"]
    pip += ["--only-binary=:all:"]
    lock: list[str | Path] = ["--no-deps", "--require-hashes", "--requirement", _lock(tool.name)]
    call([*pip, *lock], TIME_LIMIT_S, marks=["ERROR:"])
    if tool.apart:  # after the lock: what is there already is not chosen anew
        call([*pip, tool.apart], TIME_LIMIT_S, marks=["ERROR:"])
    _record(tool, folder)


def _record(tool: Toolchain, folder: Path) -> None:
    (packages,) = (folder / "lib").glob("python*/site-packages")
    found = importlib.metadata.distributions(path=[str(packages)])
    rows = sorted(({"name": d.name, "version": d.version, "licence": licence_of(d)} for d in found),
                  key=lambda row: row["name"].lower())  # fmt: skip
    record = {
        "name": tool.name,
        "package": f"{tool.package} {tool.version}",
        "licence": tool.licence,
        "lock_sha256": hashlib.sha256(_lock(tool.name).read_bytes()).hexdigest(),
        "python": platform.python_version(),
        "packages": rows,
    }
    write_json(folder / RECORD, record)


def check_venv(name: str) -> str | None:
    """Return what is wrong with an installed environment, or None: its module is imported."""
    tool, python = read_toolchain(name), venv_folder(name) / "bin" / "python"
    try:
        done = subprocess.run(  # noqa: S603 - our own environment's Python
            [python, "-I", "-c", f"import {tool.imports}"],
            capture_output=True,
            check=False,
            text=True,
            timeout=300,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"its Python does not run: {error}"
    last = (done.stderr.strip().splitlines() or [""])[-1]
    return f"'{tool.imports}' does not load: {last}" if done.returncode else None


def _lock(name: str) -> Path:
    return _files()[name].with_suffix(".txt")


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.split(".")[:2])

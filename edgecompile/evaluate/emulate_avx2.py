"""Run an artifact on an x86 CPU that has AVX2 and no VNNI, which qemu-x86_64 emulates.

User-mode qemu runs this host's own Python and runtime as they are; engines choose their kernels by
CPUID, which qemu answers. Its vpmaddubsw saturates as a real AVX2's does.

Also a program: `python -m edgecompile.evaluate.emulate_avx2 ENGINE MODEL FEEDS ANSWERS`.
"""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.engines import engine
from edgecompile.errors import EmulationError

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

PROGRAMS = ("qemu-x86_64", "qemu-x86_64-static")
"""What Debian's qemu-user and qemu-user-static install."""
CPU = "Skylake-Client"
"""The last Intel client CPU before VNNI."""
TIME_LIMIT_S = 600
"""MiniLM takes 1 to 2 s a sample, a model of 100 million parameters 20 s."""


def find_qemu() -> str | None:
    """Return the path of qemu's user-mode emulator of x86-64, None where it is not installed."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def how(qemu: str) -> str:
    """Say what emulates which CPU, as the manifest keeps it."""
    first = next(iter(_run([qemu, "--version"]).splitlines()), "")
    words = first.partition("version ")[2].split()
    version = words[0] if words else "of unknown version"
    return f"qemu-x86_64 {version}, -cpu {CPU}: AVX2, no VNNI"


def emulate(
    qemu: str,
    artifact: Path,
    engine_name: str,
    feeds: "Sequence[Feed]",
    time_limit_s: float = TIME_LIMIT_S,
) -> "list[list[FloatArray]]":
    """Return all outputs for each feed, on one thread; raise EmulationError where none came."""
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as folder:
        asked, answered = (Path(folder) / name for name in ("feeds.npz", "answers.npz"))
        _write(asked, [dict(feed) for feed in feeds])
        python = [qemu, "-cpu", CPU, sys.executable, "-P"]
        _run([*python, "-m", __name__, engine_name, artifact, asked, answered], time_limit_s)
        if not answered.is_file():
            msg = f"{Path(qemu).name} ended without an answer"
            raise EmulationError(msg)
        return [list(row.values()) for row in _read(answered)]


def main(engine_name: str, artifact: str, asked: str, answered: str) -> None:
    """Answer each feed of one .npz into another."""
    run = engine(engine_name).runner(Path(artifact), 1)
    answers = [run(feed) for feed in _read(Path(asked))]
    _write(Path(answered), [dict(enumerate(row)) for row in answers])


def _run(command: Sequence[str | Path], time_limit_s: float = TIME_LIMIT_S) -> str:
    """Return what a program prints; raise the last line of its complaint, or its signal."""
    program = Path(command[0]).name
    try:
        done = subprocess.run(  # noqa: S603 - qemu from PATH, our own interpreter and module
            command,
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
            timeout=time_limit_s,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{program} took longer than {time_limit_s:g} s"
        raise EmulationError(msg) from error
    except OSError as error:
        msg = f"{program} cannot be run: {error.strerror}"
        raise EmulationError(msg) from error
    if done.returncode == 0:
        return done.stdout
    # qemu first warns of what the CPU has and its emulation has not.
    lines = [line for line in done.stderr.strip().splitlines() if "warning:" not in line]
    what = lines[-1].strip()[:300] if lines else f"exit status {done.returncode}"
    msg = f"{program} failed: {what}"
    raise EmulationError(msg)


def _write(path: Path, rows: Sequence[Mapping[Any, np.ndarray[Any, Any]]]) -> None:
    """Write each row's arrays as NNN/NAME."""
    arrays = {f"{n:03}/{name}": array for n, row in enumerate(rows) for name, array in row.items()}
    np.savez(path, **arrays)  # type: ignore[arg-type]


def _read(path: Path) -> list[dict[str, np.ndarray[Any, Any]]]:
    """Read them again, in their order."""
    rows: dict[str, dict[str, np.ndarray[Any, Any]]] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            number, _, name = key.partition("/")
            rows.setdefault(number, {})[name] = archive[key]
    return [rows[number] for number in sorted(rows)]


if __name__ == "__main__":
    main(*sys.argv[1:])

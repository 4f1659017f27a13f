"""Run an artifact with the kernels of an x86 CPU that has AVX2 and no VNNI.

An engine that can be told so takes them on this CPU. For others qemu-x86_64 emulates such a CPU: it
runs this host's own Python and runtime as they are; they choose their kernels by CPUID, which qemu
answers. Its vpmaddubsw saturates as a real AVX2's does. What runs there is answer_feeds.py.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgecompile.engines import engine
from edgecompile.errors import EmulationError
from edgecompile.host import read_host
from edgecompile.rows_file import read_answers, write_rows
from edgecompile.run_program import run_together
from edgecompile.scratch import scratch_folder

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

CHILD = "edgecompile.evaluate.answer_feeds"
PROGRAMS = ("qemu-x86_64", "qemu-x86_64-static")
"""What Debian's qemu-user and qemu-user-static install."""
CPU = "Skylake-Client"
"""The last Intel client CPU before VNNI."""
NO_QEMU = "there is no qemu-x86_64"
MOST_PROCESSES = 4
"""The samples are shared out among so many, each with a model of its own in memory."""
TIME_LIMIT_S = 600
"""MiniLM takes 1 to 2 s a sample, a model of 100 million parameters 20 s."""


def find_qemu() -> str | None:
    """Return the path of qemu's user-mode emulator of x86-64, None where it is not installed."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


def needs_qemu(engine_name: str) -> bool:
    """Say whether an engine cannot be told to do without VNNI."""
    return not engine(engine_name).without_vnni


def how(qemu: str | None, engine_name: str) -> str:
    """Say what emulates which CPU, as the manifest keeps it."""
    if settings := engine(engine_name).without_vnni:
        told = ", ".join(f"{key}={value}" for key, value in settings.items())
        return f"{told}: {engine_name}'s int8 kernels for AVX2, no VNNI, on this host's CPU"
    if qemu is None:
        raise EmulationError(NO_QEMU)
    first = next(iter(_run([[qemu, "--version"]]).splitlines()), "")
    words = first.partition("version ")[2].split()
    version = words[0] if words else "of unknown version"
    return f"qemu-x86_64 {version}, -cpu {CPU}: AVX2, no VNNI"


def emulate(
    qemu: str | None,
    artifact: Path,
    engine_name: str,
    feeds: "Sequence[Feed]",
    time_limit_s: float = TIME_LIMIT_S,
) -> "list[list[FloatArray]]":
    """Return all outputs for each feed, each on one thread; EmulationError where none came."""
    settings = engine(engine_name).without_vnni
    if qemu is None and not settings:
        raise EmulationError(NO_QEMU)
    emulator = [] if qemu is None or settings else [qemu, "-cpu", CPU]
    count = min(read_host().threads, len(feeds), MOST_PROCESSES)
    answers: list[list[FloatArray]] = [[] for _ in feeds]
    with scratch_folder() as folder:
        places = [(folder / f"feeds{n}.npz", folder / f"answers{n}.npz") for n in range(count)]
        commands: list[list[str | Path]] = []
        for number, place in enumerate(places):
            write_rows(place[0], feeds[number::count])
            program = [*emulator, sys.executable, "-P", "-m", CHILD]
            commands.append([*program, engine_name, artifact, *place])
        _run(commands, time_limit_s, settings)
        for number, (_, answered) in enumerate(places):
            if not answered.is_file():
                msg = f"{Path(commands[0][0]).name} ended without an answer"
                raise EmulationError(msg)
            answers[number::count] = read_answers(answered)
    return answers


def _run(
    commands: Sequence[Sequence[str | Path]],
    time_limit_s: float = TIME_LIMIT_S,
    settings: Mapping[str, str] = MappingProxyType({}),
) -> str:
    """Return what the first program prints; raise a failed one's last complaint, or its signal."""
    environment = {**os.environ, **settings}
    every = run_together(commands, time_limit_s, EmulationError, environment)
    for done in every:
        if done.returncode:
            # qemu first warns of what the CPU has and its emulation has not.
            said = [line for line in done.stderr.strip().splitlines() if "warning:" not in line]
            what = said[-1].strip()[:300] if said else f"exit status {done.returncode}"
            msg = f"{Path(commands[0][0]).name} failed: {what}"
            raise EmulationError(msg)
    return every[0].stdout

"""Run a Python program of the userland as a board's CPU would."""

import os
import re
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgecompile.cpu import Cpu
from edgecompile.emulate.sysroot import board_sysroot
from edgecompile.emulate.userland import Userland, qemu_environment
from edgecompile.errors import EmulationError, FetchError, IllegalInstructionError
from edgecompile.run_program import run_program

TIME_LIMIT_S = 900
"""MiniLM takes 1 to 3 s an inference of 128 tokens: qemu is some 100 times slower than a CPU."""
UNCAUGHT = re.compile(r"uncaught target signal (\d+)")


@dataclass(frozen=True, slots=True)
class Ended:
    """How a program ended by itself: exit status, what it printed."""

    status: int
    out: str
    err: str

    @property
    def last_line(self) -> str:
        """Return the last line of its complaint."""
        lines = [line.strip() for line in f"{self.out}\n{self.err}".splitlines() if line.strip()]
        return lines[-1][:300] if lines else f"exit status {self.status}"


def run_python(
    userland: Userland,
    cpu: Cpu,
    arguments: Sequence[str | Path],
    *,
    options: Sequence[str | Path] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
    time_limit_s: float = TIME_LIMIT_S,
) -> str:
    """Return what a program prints; `arguments` and the rest as of `end_python`.

    Raises EmulationError with its last line where it ends with another status than 0.
    """
    ended = end_python(
        userland,
        cpu,
        arguments,
        options=options,
        environment=environment,
        time_limit_s=time_limit_s,
    )
    if ended.status != 0:
        msg = f"on an emulated {cpu.name}: {ended.last_line}"
        raise EmulationError(msg)
    return ended.out


def end_python(
    userland: Userland,
    cpu: Cpu,
    arguments: Sequence[str | Path],
    *,
    options: Sequence[str | Path] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
    time_limit_s: float = TIME_LIMIT_S,
) -> Ended:
    """Run the userland's Python with `arguments`, as a command line gives them, to its end.

    `options` are further ones of qemu, `environment` is added to the program's. Paths are the
    host's. Raises IllegalInstructionError where the CPU has not what the program executes,
    EmulationError where it cannot run, takes too long or is ended by another signal.
    """
    own = ["-P", *arguments]  # not the program's folder before the runtime's modules
    program = [userland.python, *own]
    return end_program(
        userland,
        cpu,
        program,
        options=options,
        environment={**_python_environment(userland), **environment},
        time_limit_s=time_limit_s,
    )


def end_program(
    userland: Userland,
    cpu: Cpu,
    program: Sequence[str | Path],
    *,
    options: Sequence[str | Path] = (),
    environment: Mapping[str, str] = MappingProxyType({}),
    time_limit_s: float = TIME_LIMIT_S,
) -> Ended:
    """Run any program of the userland's architecture; as `end_python`."""
    try:
        sysroot = board_sysroot(userland, cpu)
    except FetchError as error:
        raise EmulationError(str(error)) from error
    given = {"PATH": os.defpath, "LANG": "C.UTF-8", "LD_LIBRARY_PATH": userland.libraries}
    given.update(environment)
    command: list[str | Path] = [userland.qemu, "-cpu", cpu.core, "-L", sysroot, *options]
    command += [part for k, v in given.items() for part in ("-E", f"{k}={v}")]
    done = run_program(
        [*command, *program],
        time_limit_s,
        EmulationError,
        qemu_environment(userland.qemu_libraries),
        name=f"the emulated {cpu.name}",
    )
    _check_signal(cpu, done.returncode, done.stderr)
    return Ended(done.returncode, done.stdout, done.stderr)


def _python_environment(userland: Userland) -> dict[str, str]:
    return {
        "PYTHONHOME": str(userland.root / "usr"),
        "PYTHONPATH": userland.python_path,
        "PYTHONNOUSERSITE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
    }


def _check_signal(cpu: Cpu, status: int, complaint: str) -> None:
    """Raise where a signal ended the program, or qemu itself: both end by it."""
    told = UNCAUGHT.search(complaint)
    number = int(told[1]) if told else max(-status, 0)
    if number == signal.SIGILL:
        msg = f"it executes an instruction that a {cpu.name} has not (SIGILL)"
        raise IllegalInstructionError(msg)
    if number:
        name = signal.Signals(number).name if number in set(signal.Signals) else str(number)
        msg = f"the program on the emulated {cpu.name} was ended by {name}"
        raise EmulationError(msg)

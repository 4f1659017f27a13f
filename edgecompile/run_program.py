"""Run other programs to their end, or raise the line that says why one could not be run."""

import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

from edgecompile.errors import EdgeCompileError

Done = subprocess.CompletedProcess[str]


def run_program(
    command: Sequence[str | Path],
    time_limit_s: float,
    raised: type[EdgeCompileError],
    environment: Mapping[str, str] | None = None,
    *,
    name: str = "",
) -> Done:
    """Return how a program ended and what it printed; `environment` replaces this process's.

    Its exit status is the caller's to judge. `raised` is the error of a program that takes too long
    or cannot be run; it is called `name` there, by default as its file is.
    """
    (done,) = run_together([command], time_limit_s, raised, environment, name=name)
    return done


def run_together(
    commands: Sequence[Sequence[str | Path]],
    time_limit_s: float,
    raised: type[EdgeCompileError],
    environment: Mapping[str, str] | None = None,
    *,
    name: str = "",
) -> list[Done]:
    """Run programs at the same time, within one limit; however this ends, none goes on."""
    name = name or Path(commands[0][0]).name
    end = time.monotonic() + time_limit_s
    try:
        with ExitStack() as stack:
            started = [_start(command, environment, stack) for command in commands]
            found = []
            for process in started:
                output, errors = process.communicate(timeout=max(end - time.monotonic(), 0))
                found.append(Done(process.args, process.returncode, output, errors))
            return found
    except subprocess.TimeoutExpired as error:
        msg = f"{name} took longer than {time_limit_s:g} s"
        raise raised(msg) from error
    except OSError as error:
        msg = f"{name} cannot be run: {error.strerror}"
        raise raised(msg) from error


def _start(
    command: Sequence[str | Path], environment: Mapping[str, str] | None, stack: ExitStack
) -> "subprocess.Popen[str]":
    """Start a program that is killed when the stack is closed, if it still runs."""
    process = subprocess.Popen(  # noqa: S603 - programs by our choice; no shell
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        env=environment,
    )
    stack.enter_context(process)
    stack.callback(process.kill)
    return process

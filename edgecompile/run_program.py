"""Run another program to its end, or raise the line that says why it could not be run."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecompile.errors import EdgeCompileError


def run_program(
    command: Sequence[str | Path],
    time_limit_s: float,
    raised: type[EdgeCompileError],
    environment: Mapping[str, str] | None = None,
    *,
    name: str = "",
) -> "subprocess.CompletedProcess[str]":
    """Return how a program ended and what it printed; `environment` replaces this process's.

    Its exit status is the caller's to judge. `raised` is the error of a program that takes too long
    or cannot be run; it is called `name` there, by default as its file is.
    """
    name = name or Path(command[0]).name
    try:
        return subprocess.run(  # noqa: S603 - programs by our choice; no shell
            command,
            capture_output=True,
            check=False,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=time_limit_s,
            env=environment,
        )
    except subprocess.TimeoutExpired as error:
        msg = f"{name} took longer than {time_limit_s:g} s"
        raise raised(msg) from error
    except OSError as error:
        msg = f"{name} cannot be run: {error.strerror}"
        raise raised(msg) from error

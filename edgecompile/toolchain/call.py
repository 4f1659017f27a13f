"""Call another program and return what it prints, or raise the line that says why it failed."""

import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecompile.errors import FetchError


def call(
    command: Sequence[str | Path],
    time_limit_s: float,
    environment: Mapping[str, str] | None = None,
    *,
    marks: Sequence[str] = (),
    codes: Sequence[int] = (0,),
) -> str:
    """Return a program's standard output; `environment` replaces this process's.

    Another exit status than one of `codes` raises FetchError with the first line of its complaint
    that starts with one of `marks`, else with the last.
    """
    program = Path(command[0]).name
    try:
        done = subprocess.run(  # noqa: S603 - programs by our choice; no shell
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
        msg = f"{program} took longer than {time_limit_s:g} s"
        raise FetchError(msg) from error
    except OSError as error:
        msg = f"{program} cannot be run: {error.strerror}"
        raise FetchError(msg) from error
    if done.returncode in codes:
        return done.stdout
    lines = [line.strip() for line in done.stderr.strip().splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(tuple(marks))] if marks else []
    what = (marked[:1] or lines[-1:] or [f"exit status {done.returncode}"])[0][:300]
    msg = f"{program} failed: {what}"
    raise FetchError(msg)

"""Call another program and return what it prints, or raise the line that says why it failed."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from edgecompile.errors import FetchError
from edgecompile.run_program import run_program


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
    done = run_program(command, time_limit_s, FetchError, environment)
    if done.returncode in codes:
        return done.stdout
    lines = [line.strip() for line in done.stderr.strip().splitlines() if line.strip()]
    marked = [line for line in lines if line.startswith(tuple(marks))] if marks else []
    what = (marked[:1] or lines[-1:] or [f"exit status {done.returncode}"])[0][:300]
    msg = f"{Path(command[0]).name} failed: {what}"
    raise FetchError(msg)

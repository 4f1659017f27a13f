"""A vendor's compiler at work: a process of its own, with limits, over files and JSON.

Its exit status proves nothing. What counts is the answer that it wrote, and then the artifact.
"""

import json
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from edgecompile.cache_folder import cache_folder
from edgecompile.errors import ToolchainError, WorkerError

LOG, REQUEST, ANSWER = "worker.log", "request.json", "answer.json"
"""The files of a call; LOG has all that it printed."""
LAUNCHER = Path(__file__).parent / "launch.py"
MEMORY_LIMIT_BYTES = 16 << 30


def run_worker(
    python: Path,
    worker: Path,
    request: Mapping[str, Any],
    folder: Path,
    *,
    time_limit_s: float,
    memory_limit_bytes: int = MEMORY_LIMIT_BYTES,
) -> Any:
    """Call `work(request)` of a Python file in a toolchain's environment; return its answer.

    It runs in `folder`, where its log stays. Raises WorkerError for an exception of the
    worker's, and ToolchainError where it died or took too long; then the log is kept in the cache,
    and what it wrote into `folder` is removed.
    """
    before = {path.name for path in folder.iterdir()}
    (folder / REQUEST).write_text(json.dumps(dict(request)), encoding="utf-8")
    (folder / ANSWER).unlink(missing_ok=True)
    command = [python, "-I", LAUNCHER, worker.absolute(), REQUEST, ANSWER, str(memory_limit_bytes)]
    try:
        end = _run(command, folder, time_limit_s)
        told = _read_answer(folder / ANSWER)
        if told is None or end:
            kind = ToolchainError
            what = end or "ended without an answer"
        elif "error" in told:
            kind, what = WorkerError, str(told["error"])
        else:
            return told["answer"]
        msg = f"{worker.stem}: {what}{_last_words(folder)}; its log: {_keep_log(folder, worker)}"
        _clear(folder, before)
        raise kind(msg)
    finally:
        for name in (REQUEST, ANSWER, f"{ANSWER}.part"):
            (folder / name).unlink(missing_ok=True)


def _run(command: list[Any], folder: Path, time_limit_s: float) -> str:
    """Run a command with all that it starts; return how it ended, "" for well."""
    hidden = ("PYTHON", "LD_PRELOAD")  # of this process, not of that environment
    environment = {k: v for k, v in os.environ.items() if not k.startswith(hidden)}
    with (folder / LOG).open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 - our own launcher, our own environment
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env=environment,
            start_new_session=True,
        )
        try:
            status = process.wait(time_limit_s)
        except subprocess.TimeoutExpired:
            return f"did not end within {time_limit_s:g} s and was killed"
        finally:  # an interrupt too; children that it left behind too
            _kill(process)
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"ended with exit status {status}" if status else ""


def _kill(process: "subprocess.Popen[bytes]") -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _read_answer(path: Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and {"answer", "error"} & found.keys() else None


def _last_words(folder: Path) -> str:
    """Return the last line of the log that says something."""
    text = (folder / LOG).read_text(encoding="utf-8", errors="replace")
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return f" ({lines[-1][:200]})" if lines else ""


def _keep_log(folder: Path, worker: Path) -> Path:
    kept = cache_folder() / "logs" / f"{worker.stem}.log"
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(folder / LOG, kept)
    return kept


def _clear(folder: Path, before: set[str]) -> None:
    for path in folder.iterdir():
        if path.name not in before:
            shutil.rmtree(path) if path.is_dir() else path.unlink()

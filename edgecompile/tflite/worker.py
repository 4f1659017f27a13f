"""tflite-runtime in an environment of its own: a Python 3.11 that sees its wheels and nothing else.

It answers feeds over files, one after the other, as long as whoever opened it holds on to it.
"""

import contextlib
import hashlib
import json
import platform
import shutil
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgecompile.cache_folder import cache_folder
from edgecompile.errors import DataError, FetchError, UnsupportedError
from edgecompile.scratch import scratch_folder
from edgecompile.tflite import interpret
from edgecompile.toolchain.call import call
from edgecompile.toolchain.once import once
from edgecompile.toolchain.wheels import fetch_wheels, lock_path, manylinux

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

RUNTIME = "tflite_runtime"
PYTHON = "3.11"
"""The newest that its wheels are for; numpy 1's and its own are of this one in the lock."""
ASK_PYTHON = "import sys; print('%d.%d' % sys.version_info[:2])"
ASK_VERSION = f"""import sys; sys.path.insert(0, sys.argv[1])
import {RUNTIME}.interpreter; print({RUNTIME}.__version__)"""
TIME_LIMIT_S = 60


@dataclass(frozen=True, slots=True, weakref_slot=True)
class Worker:
    """A process that runs one artifact; it ends with this object, or with this process."""

    process: subprocess.Popen[str]
    scratch: Path

    def run(self, feed: "Feed") -> "list[FloatArray]":
        """Answer a feed with all outputs."""
        asked, answered = (self.scratch / name for name in ("feed.npz", "answer.npz"))
        np.savez(asked, **feed)  # type: ignore[arg-type]
        trouble = self._ask([str(asked), str(answered)])
        if "feed" in trouble:
            raise DataError(trouble["feed"])
        if trouble:
            msg = f"tflite-runtime does not run the artifact: {trouble['runtime']}"
            raise UnsupportedError(" ".join(msg.split()))
        with np.load(answered, allow_pickle=False) as arrays:
            return [arrays[name] for name in arrays.files]

    def _ask(self, question: Sequence[str]) -> dict[str, str]:
        answer = ""
        if (to := self.process.stdin) is not None and (back := self.process.stdout) is not None:
            with contextlib.suppress(BrokenPipeError):
                to.write(json.dumps(question) + "\n")
                to.flush()
            answer = back.readline()
        if answer:
            found: dict[str, str] = json.loads(answer)
            return found
        code = self.process.wait(TIME_LIMIT_S)
        words = (self.scratch / "words").read_text(encoding="utf-8", errors="replace")
        lines = [line.strip() for line in words.splitlines() if not line.startswith("INFO:")]
        return {"runtime": f"it ended with {code}: {(lines or ['no word'])[-1][:300]}"}


def open_worker(artifact: Path, threads: int) -> "Callable[[Feed], list[FloatArray]]":
    """Return a function that runs an artifact, which is opened with the first feed.

    0 threads are one here: it judges, and two that wait for each other spin on a busy machine.
    """
    command: list[str | Path] = [python(), "-I", "-S", interpret.__file__, wheels(), RUNTIME]
    command += [artifact, str(threads or 1)]
    stack = contextlib.ExitStack()
    scratch = stack.enter_context(scratch_folder())
    with (scratch / "words").open("wb") as words:
        process = subprocess.Popen(  # noqa: S603 - a Python 3.11 and our own program
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=words,
            text=True,
        )
    worker = Worker(process, scratch)
    weakref.finalize(worker, _end, process, stack)
    return worker.run


def _end(process: "subprocess.Popen[str]", scratch: contextlib.ExitStack) -> None:
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with contextlib.suppress(BrokenPipeError):  # what it was asked as it ended
                pipe.close()
    process.kill()
    process.wait()
    scratch.close()


@cache
def version() -> str:
    """Return the version of the runtime in its environment, which is made if need be."""
    return call([python(), "-I", "-S", "-c", ASK_VERSION, wheels()], TIME_LIMIT_S).strip()


@cache
def python() -> str:
    """Return a Python of the version that the runtime is for: this one, or one on PATH."""
    for path in filter(None, (sys.executable, shutil.which(f"python{PYTHON}"))):
        with contextlib.suppress(FetchError):  # it cannot be run: pyenv leaves such names behind
            if call([path, "-I", "-S", "-c", ASK_PYTHON], TIME_LIMIT_S).strip() == PYTHON:
                return path
    fault = f"has wheels up to Python {PYTHON}, and there is none here: put python{PYTHON} on PATH"
    msg = f"tflite-runtime {fault}, or choose a target with litert"
    raise UnsupportedError(msg)


def wheels() -> Path:
    """Return the folder of the runtime's wheels in the user's cache; fetch them if need be."""
    system, machine, (libc, glibc) = platform.system(), platform.machine(), platform.libc_ver()
    if (system, libc) != ("Linux", "glibc"):
        msg = f"tflite-runtime has wheels for Linux with glibc alone, this is {system}"
        raise UnsupportedError(msg)
    lock = lock_path(RUNTIME)
    key = hashlib.sha256(lock.read_bytes()).hexdigest()[:12]
    tags = manylinux(machine, int(glibc.partition(".")[2]))
    place = cache_folder() / f"{RUNTIME}-{machine}-{key}"
    return once(place, lambda scratch: _fetch(lock, tags, scratch))


def _fetch(lock: Path, tags: Sequence[str], scratch: Path) -> None:
    fetch_wheels(lock, tags, PYTHON, scratch)

"""A folder in the cache is made once, by one process, whole or not at all."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgecompile.errors import FetchError
from edgecompile.toolchain.once import once

PROGRAM = """
import sys, time
from pathlib import Path
from edgecompile.toolchain.once import once

def make(scratch):
    with open(sys.argv[2], "a") as log:
        log.write("made\\n")
    (scratch / "half").write_text("1")
    time.sleep(float(sys.argv[3]))
    (scratch / "whole").write_text("2")

print(sorted(p.name for p in once(Path(sys.argv[1]), make).iterdir()))
"""


def start(folder: Path, log: Path, seconds: float) -> subprocess.Popen[str]:
    """Start a process that makes the folder, slowly."""
    command = [sys.executable, "-c", PROGRAM, folder, log, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def wait_for(log: Path) -> None:
    """Wait until a process is in the middle of it."""
    while not log.is_file() or not log.read_text():
        time.sleep(0.01)


def test_two_processes_at_once_make_it_once(tmp_path: Path) -> None:
    """The second waits for the first, and finds it whole."""
    folder, log = tmp_path / "cache/thing", tmp_path / "log"
    both = [start(folder, log, 0.5) for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert said == ["['half', 'whole']\n"] * 2
    assert log.read_text() == "made\n"


def test_a_killed_process_leaves_nothing_half_made(tmp_path: Path) -> None:
    """The folder is not there; the next process makes it, and clears what was left."""
    folder, log = tmp_path / "cache/thing", tmp_path / "log"
    process = start(folder, log, 60)
    wait_for(log)
    assert not folder.exists()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not folder.exists()
    once(folder, lambda scratch: (scratch / "whole").touch())
    assert [path.name for path in folder.iterdir()] == ["whole"]
    assert {path.name for path in folder.parent.iterdir()} == {"thing", "thing.lock"}


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    """An error of the maker comes through; it can be tried again."""
    folder = tmp_path / "thing"

    def fail(scratch: Path) -> None:
        (scratch / "half").touch()
        msg = "no network"
        raise FetchError(msg)

    with pytest.raises(FetchError, match="no network"):
        once(folder, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["thing.lock"]


def test_a_full_disk_is_one_line(tmp_path: Path) -> None:
    """The kernel refuses a write (here: RLIMIT_FSIZE): the place is named, nothing is left."""
    program = f"""
import resource, signal
from pathlib import Path
from edgecompile.toolchain.once import once
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
try:
    once(Path({str(tmp_path / "thing")!r}), lambda s: (s / "big").write_bytes(bytes(2000)))
except Exception as error:
    print(type(error).__name__, error)
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("FetchError ")
    assert "cannot write there: File too large; set EDGECOMPILE_CACHE to another" in done.stdout
    assert os.listdir(tmp_path) == ["thing.lock"]  # noqa: PTH208 - the names alone

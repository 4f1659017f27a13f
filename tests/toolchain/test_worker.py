"""A vendor's compiler in a process of its own: what it answers, and all the ways it may end."""

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from edgecompile.errors import ToolchainError, WorkerError
from edgecompile.toolchain.worker import LOG, run_worker

HEAD = "import os, signal, subprocess, sys, time\nfrom pathlib import Path\n"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Keep logs out of the user's cache."""
    monkeypatch.setenv("EDGECOMPILE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder in which a file lies that is none of the worker's."""
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "model.onnx").write_text("mine")
    return tmp_path / "work"


def work(body: str, folder: Path, seconds: float = 60, limit: int = 0) -> Any:
    """Run a worker of one function."""
    file = folder.parent / "vendor.py"
    lines = "".join(f"    {line}\n" for line in body.splitlines())
    file.write_text(f"{HEAD}def work(request):\n{lines}", encoding="utf-8")
    request = {"a": 20}
    python = Path(sys.executable)
    return run_worker(python, file, request, folder, time_limit_s=seconds, memory_limit_bytes=limit)


def test_it_answers_over_json_and_its_log_stays(folder: Path) -> None:
    """It runs in the folder; what it printed is there, nothing of the call is."""
    answer = work("print('hello'); Path('out').touch()\nreturn {'b': request['a'] + 1}", folder)
    assert answer == {"b": 21}
    assert (folder / LOG).read_text().strip() == "hello"
    assert sorted(path.name for path in folder.iterdir()) == ["model.onnx", "out", LOG]


@pytest.mark.parametrize(
    ("body", "kind", "said"),
    [
        ("raise RuntimeError('no such chip')", WorkerError, "RuntimeError: no such chip"),
        ("sys.exit(0)", WorkerError, "SystemExit"),
        ("os.kill(os.getpid(), signal.SIGSEGV)", ToolchainError, "died of SIGSEGV"),
        ("os._exit(0)", ToolchainError, "ended without an answer"),
        ("os._exit(7)", ToolchainError, "exit status 7"),
        ("time.sleep(600)", ToolchainError, "did not end within 2 s"),
        ("x = bytearray(1 << 33)", WorkerError, "MemoryError"),
    ],
)
def test_however_it_ends_the_error_is_one_line_and_no_half_file_is_left(
    body: str, kind: type[Exception], said: str, folder: Path, cache: Path
) -> None:
    """An exit status of 0 proves nothing. The log is kept in the cache."""
    wrote = "print('last words', flush=True); Path('half.bin').write_bytes(b'x')\n"
    with pytest.raises(kind) as caught:
        work(wrote + body, folder, seconds=2 if "sleep" in body else 60, limit=1 << 32)
    line = str(caught.value)
    assert said in line
    assert "\n" not in line
    assert [path.name for path in folder.iterdir()] == ["model.onnx"]
    assert "last words" in (cache / "logs" / "vendor.log").read_text()


def test_its_children_die_with_it(folder: Path) -> None:
    """Even one that its parent left behind."""
    body = (
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        "return child.pid"
    )
    pid = work(body, folder)
    stop = time.monotonic() + 10
    while time.monotonic() < stop and _lives(pid):
        time.sleep(0.05)
    assert not _lives(pid)


def _lives(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"  # a zombie waits for init to collect it


def test_it_sees_nothing_of_this_python(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its environment is the toolchain's, not the caller's."""
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PYTHONHOME_", "x")
    found = work("return [k for k in os.environ if k.startswith('PYTHON')]", folder)
    assert json.dumps(found) == "[]"
    assert os.environ["PYTHONPATH"] == str(folder)

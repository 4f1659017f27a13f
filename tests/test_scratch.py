"""Scratch folders vanish with the process that made them, however it ends."""

import contextlib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgecompile.scratch import scratch_folder, sweep

PROGRAM = """
import sys, time
from pathlib import Path
from edgecompile.scratch import scratch_folder

with scratch_folder(Path(sys.argv[1]), "job-") as folder:
    (folder / "half").write_text("1")
    print(folder, flush=True)
    time.sleep(60)
"""


@pytest.fixture
def process(tmp_path: Path) -> subprocess.Popen[str]:
    """Return a process that works in a scratch folder, which it has printed."""
    command = [sys.executable, "-c", PROGRAM, tmp_path]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_it_is_gone_after_the_block(tmp_path: Path) -> None:
    """With all that lies in it, after an error too."""
    with contextlib.suppress(KeyError), scratch_folder(tmp_path, "job-") as folder:
        (folder / "deep").mkdir()
        raise KeyError
    assert not list(tmp_path.iterdir())


def test_a_killed_process_leaves_it_for_the_next(
    process: subprocess.Popen[str], tmp_path: Path
) -> None:
    """While it lives, nobody touches its folder; then the next scratch folder clears it away."""
    assert process.stdout is not None
    folder = Path(process.stdout.readline().strip())
    assert sweep(tmp_path, "job-") == []
    with scratch_folder(tmp_path, "job-"):
        assert (folder / "half").is_file()
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert folder.is_dir()
    with scratch_folder(tmp_path, "job-") as other:
        assert list(tmp_path.iterdir()) == [other]


def test_what_is_called_otherwise_stays(tmp_path: Path) -> None:
    """Only folders of the prefix are swept; no files, and nothing behind a link."""
    outside = tmp_path / "outside"
    outside.mkdir()
    place = tmp_path / "place"
    (place / "others").mkdir(parents=True)
    (place / "job-file").write_text("")
    (place / "job-link").symlink_to(outside)
    with scratch_folder(place, "job-"):
        pass
    assert {path.name for path in place.iterdir()} == {"others", "job-file", "job-link"}
    assert outside.is_dir()

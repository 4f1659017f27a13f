"""One function makes or takes a stage; no fault of the disk fails a build."""

import contextlib
import errno
import os
import shutil
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgecompile.cache.cached import Cache
from edgecompile.cache.keep_json import read_json, write_json
from edgecompile.cache.store import Store
from edgecompile.trace import Trace


@dataclass
class Job:
    """A build of one stage, which counts how often it was made; all that was said."""

    folder: Path
    said: list[tuple[str, str]] = field(default_factory=list)
    made: int = 0
    warning: str = ""

    def run(self, key: Any = "key", **wishes: Any) -> Any:
        """Make or take it."""
        trace = Trace(say=lambda stage, what: self.said.append((stage, what)))
        cache = Cache(trace, Store(self.folder, 10**9), **wishes)

        def make() -> list[float]:
            self.made += 1
            if self.warning:
                trace.say("warning", self.warning)
            return [0.1, 1 / 3]

        given = {"key": key}
        return cache.cached("plan", "the plan", given, make, write_json, read_json)

    def warned(self) -> list[str]:
        """Return the warnings."""
        return [what for stage, what in self.said if stage == "warning"]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Return a job with a cache of its own."""
    return Job(tmp_path / "stages")


def test_the_same_is_made_once(job: Job) -> None:
    """Then it is taken, the same to the last bit; the build says so, and from when it is."""
    assert job.run() == job.run() == [0.1, 1 / 3]
    assert job.made == 1
    ((stage, what),) = job.said
    assert stage == "cached"
    assert what.startswith("the plan, made 20")


@pytest.mark.parametrize("key", ["other", {"a": 1}, {"a": 2}, [1, 2], {1, 2}, Path("a"), None])
def test_another_key_is_another_result(key: Any, job: Job) -> None:
    """Whatever plain data differs."""
    job.run()
    job.run(key)
    assert job.made == 2


def test_without_reading_all_is_made_and_kept(job: Job) -> None:
    """--no-cache: what was there is made anew, and the next build takes that."""
    job.run()
    job.run(read=False)
    assert job.made == 2
    job.run()
    assert job.made == 2


def test_inputs_that_change_meanwhile_are_not_kept(job: Job) -> None:
    """The hash would be that of another file than the one that was read."""
    job.run(sound=lambda: False)
    assert job.warned() == ["cache: an input was changed during the build; nothing is kept"]
    job.run()
    assert job.made == 2


def test_warnings_come_with_what_is_taken(job: Job) -> None:
    """Whoever takes a stage is warned as who made it, once."""
    job.warning = "RANDOM DATA"
    job.run()
    job.run()
    assert job.made == 1
    assert job.warned() == ["RANDOM DATA"] * 2


def test_what_several_stages_share_warns_with_each(tmp_path: Path) -> None:
    """A value that is made once belongs to each stage that asked; aloud it is said once."""
    said: list[str] = []

    def run(*names: str) -> None:
        said.clear()
        trace = Trace(say=lambda _stage, what: said.append(what))
        cache = Cache(trace, Store(tmp_path / "stages", 10**9))
        shared = cache.once(lambda: trace.say("warning", "careful"))
        for name in names:
            cache.cached(name, name, {}, lambda: [shared()], write_json, read_json)

    run("a", "b")
    assert said == ["careful"]
    for name in "ab":
        run(name)
        assert said[1:] == ["careful"]
        assert said[0].startswith(f"{name}, made")


def test_a_damaged_entry_is_made_again(job: Job) -> None:
    """One line says which; the build after that takes the new one."""
    job.run()
    (entry,) = job.folder.iterdir()
    (entry / "value.json").write_text("[1, 2]")
    assert job.run() == [0.1, 1 / 3]
    assert job.made == 2
    (line,) = job.warned()
    assert line.startswith(f"cache: {entry}: value.json is not what was written; it is made again")
    job.run()
    assert job.made == 2


@pytest.mark.skipif(os.getuid() != 0, reason="a full disk is made by mounting a small one")
def test_a_full_disk_costs_one_warning(job: Job, full: Path) -> None:
    """The build goes on without the cache, and leaves nothing half-written there."""
    job.folder = full
    job.run()
    (line,) = job.warned()
    assert line.endswith("No space left on device; the build goes on without it")
    assert not [path for path in full.iterdir() if path.name.startswith(".new-")]


@pytest.fixture
def full(tmp_path: Path) -> Any:
    """Return a real file system without room, or skip where none can be mounted."""
    place = tmp_path / "disk"
    place.mkdir()
    mount = [shutil.which("mount") or "mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", place]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("no file system can be mounted here")
    with contextlib.suppress(OSError), (place / "stuffing").open("wb", buffering=0) as file:
        while True:
            file.write(b"0" * 4096)
    yield place
    subprocess.run([shutil.which("umount") or "umount", place], check=True)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_a_place_that_cannot_be_written_costs_one_warning(
    number: int, job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the system's reason is."""

    def refuse(*_args: object, **_more: object) -> None:
        raise OSError(number, os.strerror(number), str(job.folder))

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    job.run()
    assert job.warned() == [
        f"cache: {job.folder}: {os.strerror(number)}; the build goes on without it"
    ]


def test_a_place_that_cannot_be_read_costs_one_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many stages a build has."""

    def refuse(self: Store, _name: str) -> None:
        raise OSError(errno.EACCES, "Permission denied", str(self.folder))

    monkeypatch.setattr(Store, "open", refuse)
    said: list[str] = []
    trace = Trace(say=lambda _stage, what: said.append(what))
    cache = Cache(trace, Store(tmp_path, 10**9))
    for stage in ("float", "plan"):
        assert cache.cached(stage, stage, {}, list, write_json, read_json) == []
    assert said == [f"cache: {tmp_path}: Permission denied; the build goes on without it"]


def test_a_file_in_the_caches_place_costs_one_warning(job: Job) -> None:
    """The same without a trick."""
    job.folder.write_text("")
    job.run()
    (line,) = job.warned()
    assert line.startswith(f"cache: {job.folder}: ")

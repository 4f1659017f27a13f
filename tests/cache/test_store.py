"""Entries are whole or not at all, verified when they are read, and bounded in size."""

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from edgecompile.cache.store import Store
from edgecompile.errors import DamagedError

BIG = 10**9


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store that does not exist yet."""
    return Store(tmp_path / "cache" / "stages", BIG)


def filled(*texts: str) -> Callable[[Path], None]:
    """Return what writes files 0, 1, ... of these texts."""

    def write(folder: Path) -> None:
        for number, text in enumerate(texts):
            (folder / str(number)).write_text(text, encoding="utf-8")

    return write


def names(store: Store) -> list[str]:
    """Return what lies in the store, hidden folders too."""
    return sorted(path.name for path in store.folder.iterdir())


def test_what_was_kept_is_found(store: Store) -> None:
    """With its files and what was warned of; what was not kept is not there."""
    assert store.open("plan-1") is None
    store.keep("plan-1", filled("a", "b"), ["careful"])
    entry = store.open("plan-1")
    assert entry is not None
    assert [(entry.folder / name).read_text() for name in "01"] == ["a", "b"]
    assert entry.warnings == ["careful"]
    assert entry.made.endswith("+00:00")
    assert names(store) == ["plan-1"]


def test_a_failure_while_writing_keeps_nothing(store: Store) -> None:
    """Neither an entry nor a scratch folder."""

    def fail(folder: Path) -> None:
        (folder / "half").write_text("a")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.keep("plan-1", fail)
    assert names(store) == []


def flip(path: Path) -> None:
    """Change one bit."""
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def grow(path: Path) -> None:
    """Add a byte."""
    with path.open("ab") as file:
        file.write(b"x")


def point_elsewhere(path: Path) -> None:
    """Put a link to the same bytes in a file's place."""
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


@pytest.mark.parametrize("file", ["0", "1", "entry.json"])
@pytest.mark.parametrize("spoil", [flip, grow, Path.unlink, point_elsewhere])
def test_a_damaged_entry_is_found_out_and_gone(
    spoil: Callable[[Path], None], file: str, store: Store
) -> None:
    """Whatever became of whichever of its files: it is not believed, and removed."""
    store.keep("plan-1", filled("some text", "more text"))
    spoil(store.folder / "plan-1" / file)
    if (spoil, file) == (point_elsewhere, "entry.json"):
        assert store.open("plan-1") is not None  # the same record, and its files are as they were
        return
    with pytest.raises(DamagedError):
        store.open("plan-1")
    assert store.open("plan-1") is None


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname", ".hidden", ""])
def test_a_record_may_not_point_out_of_its_folder(name: str, store: Store) -> None:
    """Even one whose own hash is right."""
    import hashlib

    store.keep("plan-1", filled("a"))
    path = store.folder / "plan-1" / "entry.json"
    record = json.loads(path.read_text().partition("\n")[2])
    record["files"][name] = record["files"].pop("0")
    text = json.dumps(record)
    path.write_text(f"{hashlib.sha256(text.encode()).hexdigest()}\n{text}\n")
    with pytest.raises(DamagedError):
        store.open("plan-1")


def test_what_was_not_used_for_longest_goes_first(store: Store) -> None:
    """Reading counts as use; the entries that stay fit the limit."""
    for number, name in enumerate(("a-1", "b-1", "c-1")):
        store.keep(name, filled("x" * 1000))
        os.utime(store.folder / name, (number, number))
    assert store.open("a-1") is not None
    size = max(entry.bytes for entry in store.entries())
    small = Store(store.folder, 3 * size)
    assert [entry.name for entry in small.keep("d-1", filled("x" * 1000))] == ["b-1"]
    assert names(store) == ["a-1", "c-1", "d-1"]
    assert [entry.name for entry in store.trim(size)] == ["c-1", "a-1"]


def test_the_later_of_two_makers_stays(store: Store) -> None:
    """Both were right: neither waits, neither fails."""

    def other_first(folder: Path) -> None:
        store.keep("plan-1", filled("other"))
        filled("own")(folder)

    store.keep("plan-1", other_first)
    entry = store.open("plan-1")
    assert entry is not None
    assert (entry.folder / "0").read_text() == "own"
    assert names(store) == ["plan-1"]

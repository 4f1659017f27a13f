"""Files are written whole or not at all, and known by their hash."""

import contextlib
import errno
import hashlib
import json
from pathlib import Path

import pytest

from edgecompile.errors import OutputError
from edgecompile.files import (
    UNWRITABLE,
    output_folder,
    sha256,
    staged_folder,
    write_json,
    write_whole,
)


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """Return a finished folder that an earlier build left."""
    folder = tmp_path / "dist" / "bundle"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text("old", encoding="utf-8")
    return folder


def names(folder: Path) -> list[str]:
    """Return what a folder holds, hidden files too."""
    return sorted(path.name for path in folder.iterdir())


def fail_inside(folder: Path, error: BaseException) -> None:
    """Fail when one file of the folder is written."""
    with staged_folder(folder) as scratch:
        (scratch / "new.txt").write_text("new", encoding="utf-8")
        raise error


def test_new_folder_stands_only_when_all_is_written(tmp_path: Path) -> None:
    """The folder appears, with its parents, when the block ends: not before, and complete."""
    final = tmp_path / "dist" / "deep" / "bundle"
    with staged_folder(final) as scratch:
        (scratch / "a.txt").write_text("a", encoding="utf-8")
        assert scratch.parent == final.parent
        assert not final.exists()
    assert names(final.parent) == ["bundle"]
    assert (final / "a.txt").read_text(encoding="utf-8") == "a"
    assert final.stat().st_mode & 0o777 == 0o755


def test_success_replaces_an_old_folder_whole(bundle: Path) -> None:
    """After a second build only what it wrote is there, and nothing else beside it."""
    with staged_folder(bundle) as scratch:
        (scratch / "new.txt").write_text("new", encoding="utf-8")
        assert names(bundle) == ["manifest.json"]
    assert names(bundle) == ["new.txt"]
    assert names(bundle.parent) == ["bundle"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(1)])
def test_failure_leaves_the_old_folder_and_no_scratch(bundle: Path, error: BaseException) -> None:
    """An error or an interrupt leaves what stood there before, and nothing half-written."""
    with pytest.raises(type(error)):
        fail_inside(bundle, error)
    assert names(bundle) == ["manifest.json"]
    assert names(bundle.parent) == ["bundle"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()])
def test_failure_without_an_old_folder_leaves_nothing(tmp_path: Path, error: BaseException) -> None:
    """A first build that fails leaves no folder and no scratch."""
    with pytest.raises(type(error)):
        fail_inside(tmp_path / "bundle", error)
    assert names(tmp_path) == []


def test_failed_move_puts_the_old_folder_back(
    bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the new folder cannot take its place, the old one returns to it."""
    rename = Path.rename

    def refuse(self: Path, to: Path) -> Path:
        if to == bundle and (self / "new.txt").exists():
            raise OSError(errno.ENOSPC, "No space left on device", str(to))
        return rename(self, to)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OutputError, match="No space left"), staged_folder(bundle) as scratch:
        (scratch / "new.txt").write_text("new", encoding="utf-8")
    assert names(bundle) == ["manifest.json"]
    assert names(bundle.parent) == ["bundle"]


def test_place_below_a_file_is_an_error_of_one_line(tmp_path: Path) -> None:
    """A place that cannot hold folders: which one, why, and the option that chooses another."""
    blocked = tmp_path / "file"
    blocked.write_text("I am a file", encoding="utf-8")
    with pytest.raises(OutputError) as caught, staged_folder(blocked / "dist" / "bundle"):
        pytest.fail("the block must not run")
    assert str(caught.value) == (
        f"{blocked / 'dist'}: cannot write there: Not a directory; choose another with -o"
    )
    assert caught.value.exit_code == 1
    assert blocked.read_text(encoding="utf-8") == "I am a file"


@pytest.mark.parametrize("number", UNWRITABLE)
def test_place_that_fills_up_is_the_users_to_mend(bundle: Path, number: int) -> None:
    """A full, closed or read-only disk met while writing is named, not shown as our bug."""
    full = OSError(number, "the reason", "/some/where")
    with pytest.raises(OutputError) as caught, staged_folder(bundle):
        raise full
    assert str(caught.value) == "/some/where: cannot write there: the reason"
    assert caught.value.__cause__ is full
    assert names(bundle) == ["manifest.json"]
    assert names(bundle.parent) == ["bundle"]


def test_error_without_a_file_names_the_folder(bundle: Path) -> None:
    """Where the system does not say which file, the message names the folder to be written."""
    with pytest.raises(OutputError) as caught, staged_folder(bundle):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert str(caught.value) == f"{bundle}: cannot write there: No space left on device"


def test_other_system_errors_pass_through(bundle: Path) -> None:
    """A missing file inside the block is a bug, and stays the error that it is."""
    with pytest.raises(FileNotFoundError), staged_folder(bundle) as scratch:
        (scratch / "missing").read_bytes()
    assert names(bundle.parent) == ["bundle"]


def test_output_folder_is_there_before_any_work(tmp_path: Path) -> None:
    """The folder for bundles is made at once, with its parents, and stays if something is in it."""
    folder = tmp_path / "deep" / "dist"
    for name in ("a", "b"):
        with output_folder(folder):
            assert folder.is_dir()
            (folder / name).mkdir()
    assert names(folder) == ["a", "b"]


@pytest.mark.parametrize("error", [None, ValueError("no"), KeyboardInterrupt()])
def test_empty_output_folder_is_dropped(tmp_path: Path, error: BaseException | None) -> None:
    """A build that makes no bundle leaves no empty folder, however it ends."""
    with contextlib.suppress(ValueError, KeyboardInterrupt), output_folder(tmp_path / "dist"):
        assert names(tmp_path / "dist") == []
        if error is not None:
            raise error
    assert names(tmp_path) == []


def test_output_below_a_file_is_an_error_before_any_work(tmp_path: Path) -> None:
    """A place that cannot hold bundles is found out at once: which one, why, what to do."""
    blocked = tmp_path / "file"
    blocked.write_text("I am a file", encoding="utf-8")
    with pytest.raises(OutputError) as caught, output_folder(blocked / "dist"):
        pytest.fail("the block must not run")
    assert str(caught.value) == (
        f"{blocked / 'dist'}: cannot write there: Not a directory; choose another with -o"
    )


def test_read_only_output_is_an_error_before_any_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that is there but takes no file is found out by trying to write one."""

    def refuse(dir: Path) -> None:  # noqa: A002 - as tempfile calls it
        raise OSError(errno.EROFS, "Read-only file system", str(dir))

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(OutputError) as caught, output_folder(tmp_path):
        pytest.fail("the block must not run")
    assert str(caught.value) == (
        f"{tmp_path}: cannot write there: Read-only file system; choose another with -o"
    )


@pytest.mark.parametrize("size", [0, 1, 300_000])
def test_sha256_is_that_of_the_bytes(tmp_path: Path, size: int) -> None:
    """The hash is the standard one, for files of any size."""
    path, data = tmp_path / "file", bytes(i % 251 for i in range(size))
    path.write_bytes(data)
    assert sha256(path) == hashlib.sha256(data).hexdigest()


def test_json_is_read_back_in_its_order(tmp_path: Path) -> None:
    """JSON keeps the order of its keys and every letter, two spaces deep, with a last newline."""
    path, value = tmp_path / "value.json", {"z": [1, None], "a": "naïve ✓"}
    write_json(path, value)
    text = path.read_text(encoding="utf-8")
    assert text == '{\n  "z": [\n    1,\n    null\n  ],\n  "a": "naïve ✓"\n}\n'
    assert list(json.loads(text)) == ["z", "a"]


def test_a_folder_that_is_no_bundle_is_not_touched(tmp_path: Path) -> None:
    """What a user put there is not deleted: it is named before any work."""
    final = tmp_path / "model-x86-64"
    final.mkdir()
    (final / "precious.txt").write_text("gold", encoding="utf-8")
    with (
        pytest.raises(OutputError, match="is there already and is no bundle"),
        staged_folder(final),
    ):
        pytest.fail("the block must not run")
    assert names(final) == ["precious.txt"]


def test_only_what_was_made_for_the_output_is_removed(tmp_path: Path) -> None:
    """A failed build takes its own empty folders away, all of them, and no one else's."""
    mine = tmp_path / "mine"
    mine.mkdir()
    for path in (mine, tmp_path / "new" / "deep"):
        with pytest.raises(ValueError, match="no"), output_folder(path):
            raise ValueError("no")  # noqa: EM101
    assert names(tmp_path) == ["mine"]


def test_a_text_file_is_whole_or_not_there(tmp_path: Path) -> None:
    """It takes the place of an older one; what cannot be written is one line and leaves nothing."""
    path = tmp_path / "junit.xml"
    for text in ("old", "new"):
        write_whole(path, text)
        assert (path.read_text(encoding="utf-8"), names(tmp_path)) == (text, ["junit.xml"])
    taken = tmp_path / "folder"
    taken.mkdir()
    for place in (taken, path / "below"):
        with pytest.raises(OutputError, match=f"^{place}: cannot write there: "):
            write_whole(place, "text")
    assert names(tmp_path) == ["folder", "junit.xml"]

"""The folder of a training: what is there already is resumed, refused, or replaced."""

from pathlib import Path

import pytest

from edgecompile.distill.claim_folder import CHECKPOINTS, STARTED, claim_folder
from edgecompile.errors import DistillError

IDENTITY = {"[distill] steps": 5, "[shapes] sequence": (1, 64)}


def begun(folder: Path) -> Path:
    """Return the folder of a training that has begun."""
    (folder / CHECKPOINTS / "00000005").mkdir(parents=True)
    (folder / STARTED).write_text('{"[distill] steps": 5, "[shapes] sequence": [1, 64]}')
    return folder


def test_the_same_training_goes_on(tmp_path: Path) -> None:
    """Its checkpoints stay."""
    folder = begun(tmp_path / "student")
    claim_folder(folder, IDENTITY, restart=False)
    assert (folder / CHECKPOINTS / "00000005").is_dir()


def test_another_one_is_refused_and_may_begin_anew(tmp_path: Path) -> None:
    """The key that differs is named, with both values; nothing of the old one is left."""
    folder = begun(tmp_path / "student")
    other = IDENTITY | {"[distill] steps": 6}
    with pytest.raises(DistillError, match=r"\[distill\] steps was 5, is 6; --restart"):
        claim_folder(folder, other, restart=False)
    claim_folder(folder, other, restart=True)
    assert not list(folder.iterdir())


def test_what_is_no_students_folder_is_left_alone(tmp_path: Path) -> None:
    """Not even --restart removes anything there."""
    (tmp_path / "thesis.tex").write_text("x")
    for restart in (False, True):
        with pytest.raises(DistillError, match="holds no student"):
            claim_folder(tmp_path, IDENTITY, restart=restart)
    assert (tmp_path / "thesis.tex").is_file()


def test_what_a_killed_start_left_is_no_hindrance(tmp_path: Path) -> None:
    """A file that was being written when the process died."""
    (tmp_path / ".start.onnx").write_bytes(b"half")
    (tmp_path / "start.onnx").write_bytes(b"whole")
    claim_folder(tmp_path, IDENTITY, restart=False)


def test_a_broken_record_is_one_line(tmp_path: Path) -> None:
    """With what helps."""
    begun(tmp_path)
    (tmp_path / STARTED).write_text("[1")
    with pytest.raises(DistillError, match="--restart begins anew"):
        claim_folder(tmp_path, IDENTITY, restart=False)

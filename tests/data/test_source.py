"""Which kind of data a path is; what is none is named."""

from collections.abc import Iterator
from pathlib import Path

import onnx_ir as ir
import pytest

from edgecompile.data import folders
from edgecompile.data.feed import Feed
from edgecompile.data.provenance import digest
from edgecompile.data.source import Source, Stretch, kinds, known, open_source, request_of
from edgecompile.errors import DataError

MODEL = ir.Model(ir.Graph([], [], nodes=[], name="model"), ir_version=10)


def test_every_kind_is_found_by_its_folder() -> None:
    """Each module of kinds/ holds a kind, and no suffix belongs to two."""
    import edgecompile.data.kinds as folder

    modules = [p.stem for p in Path(str(folder.__file__)).parent.glob("[!_]*.py")]
    assert len(kinds()) == len(modules)
    suffixes = [(kind.folder, s) for kind in kinds() for s in kind.suffixes]
    assert len(set(suffixes)) == len(suffixes)
    assert all(kind.what in known() for kind in kinds())


@pytest.mark.parametrize(
    ("names", "what"),
    [
        ([], "holds no file that could be read (.wav, .png,"),
        (["a.txt", ".b.png"], "holds no file that could be read (.wav, .png,"),
        (["a.png", "b.wav"], "holds audio and images; give a folder of one kind"),
    ],
)
def test_a_folder_of_no_kind_is_named(tmp_path: Path, names: list[str], what: str) -> None:
    """Neither images nor sound, or both: the folder, and what can be given."""
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(DataError) as caught:
        open_source(tmp_path, request_of(MODEL, tmp_path, 8))
    assert str(caught.value).startswith(f"{tmp_path}: {what}")


def test_files_are_in_an_order_that_mixes_classes(tmp_path: Path) -> None:
    """The same order wherever the folder lies, and not that of the names."""
    for place in ("here", "there"):
        for label in ("cat", "dog"):
            (tmp_path / place / label).mkdir(parents=True)
            for number in range(20):
                (tmp_path / place / label / f"{number}.png").touch()
    orders = [
        [str(p.relative_to(tmp_path / place)) for p in folders.find(tmp_path / place, [".png"])]
        for place in ("here", "there")
    ]
    assert orders[0] == orders[1]
    assert len(orders[0]) == 40
    assert {name[:3] for name in orders[0][:10]} == {"cat", "dog"}


def test_a_stretch_is_read_anew_each_time() -> None:
    """It holds nothing, has a length, and can be iterated again."""
    passes: list[tuple[int, int]] = []

    def feeds(start: int, stop: int) -> Iterator[Feed]:
        passes.append((start, stop))
        yield from [{} for _ in range(start, stop)]

    stretch = Stretch(Source("x", Path(), lambda limit: limit, feeds), 2, 5)
    assert (len(stretch), len(list(stretch)), len(list(stretch))) == (3, 3, 3)
    assert passes == [(2, 5), (2, 5)]


def test_a_huge_file_is_known_by_its_head(tmp_path: Path) -> None:
    """A sparse terabyte is hashed at once, and the manifest says what was hashed."""
    path = tmp_path / "huge.txt"
    with path.open("wb") as file:
        file.truncate(1 << 40)
    source = Source("text", path, lambda limit: limit, lambda *_: iter(()), [path])
    assert digest(source, 1)["sha256_of"] == "the first 67108864 bytes"


def test_only_files_that_are_used_are_hashed(tmp_path: Path) -> None:
    """A folder is known by the files that its first samples are."""
    files = [tmp_path / name for name in ("a.png", "b.png", "c.png")]
    for path in files:
        path.write_bytes(path.name.encode())
    source = Source("images", tmp_path, lambda limit: limit, lambda *_: iter(()), files)
    before = digest(source, 2)
    files[2].write_bytes(b"changed")
    assert digest(source, 2) == before
    files[1].write_bytes(b"changed")
    assert digest(source, 2) != before

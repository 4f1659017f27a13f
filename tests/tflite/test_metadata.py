"""What a .tflite file says of itself, read as Google's libraries read it: by slot, and as a zip.

tflite-support's own displayer reads it (tried by hand: its wheel wants libusb and numpy 1).
"""

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from edgecompile.attachments import LABELS, VOCABULARY, attachments
from edgecompile.emit import litert as engine
from edgecompile.tflite.metadata import ENTRY, IDENTIFIER

if TYPE_CHECKING:
    import onnx_ir as ir

pytest.importorskip("ai_edge_litert")

TEXT = """(int64[1,3] input_ids) => (float[1,3,2] logits, float[1,3,4] hidden) {
    hidden = Gather(table, input_ids) logits = MatMul(hidden, w) }"""
WORDS, NAMES = ["[PAD]", "naïve", "##s", "d"], ["no", "oh yes"]
TOKENIZER = '{"model": {"type": "WordPiece", "vocab": {"[PAD]": 0, "##s": 2, "d": 3, "naïve": 1}}}'
SIZES = {"table": (5, 4), "w": (4, 2)}
CONFIG = {"id2label": {"1": "oh\nyes", "0": "no"}}


@pytest.fixture
def file(graph: Any, tmp_path: Path) -> Path:
    """Return a classifier of tokens."""
    random = np.random.default_rng(0)
    numbers = {name: random.normal(size=s).astype("f4") for name, s in SIZES.items()}
    model: ir.Model = graph(TEXT, **numbers)
    model.metadata_props.update(attachments(TOKENIZER.encode(), CONFIG))
    name, *_ = engine.write(model, tmp_path, {})
    return tmp_path / name


class Table:
    """A flatbuffer's table, by slot."""

    def __init__(self, raw: bytes, place: int) -> None:
        """Point at it."""
        from flatbuffers.table import Table as Of

        self.of = Of(bytearray(raw), place)

    def _field(self, slot: int) -> int:
        return int(self.of.Offset(4 + 2 * slot))

    def text(self, slot: int) -> str:
        """Return a string, "" where it is left out."""
        place = self._field(slot)
        return self.of.String(self.of.Pos + place).decode() if place else ""

    def number(self, slot: int) -> int:
        """Return a byte."""
        return int(self.of.Bytes[self.of.Pos + self._field(slot)])

    def table(self, slot: int) -> "Table":
        """Return a table."""
        return Table(self.of.Bytes, self.of.Indirect(self.of.Pos + self._field(slot)))

    def tables(self, slot: int) -> list["Table"]:
        """Return a vector of tables."""
        place = self._field(slot)
        first, count = (self.of.Vector(place), self.of.VectorLen(place)) if place else (0, 0)
        return [Table(self.of.Bytes, self.of.Indirect(first + 4 * n)) for n in range(count)]


def metadata_of(file: Path) -> Table:
    """Return the root of a file's TFLITE_METADATA."""
    from edgecompile.tflite.flatbuffer import schema

    model = schema().ModelT.InitFromPackedBuf(file.read_bytes(), 0)
    (entry,) = (entry for entry in model.metadata if entry.name == ENTRY.encode())
    raw = bytes(model.buffers[entry.buffer].data)
    assert raw[4:8] == IDENTIFIER
    return Table(raw, int.from_bytes(raw[:4], "little"))


def test_tensors_words_and_labels_have_their_places(file: Path) -> None:
    """As the task library looks for them: by name, by process unit, by the output's files."""
    root = metadata_of(file)
    assert root.text(7) == "1.1.0"
    (graph,) = root.tables(3)
    assert [(t.text(0), t.text(1).partition(":")[0]) for t in graph.tables(2)] == [
        ("ids", "input_ids")
    ]
    assert [t.text(0) for t in graph.tables(3)] == ["logits", "hidden"]
    (unit,) = graph.tables(5)
    assert unit.number(0) == 4  # BertTokenizerOptions
    (words,) = unit.table(1).tables(0)
    assert (words.text(0), words.number(2)) == ("vocab.txt", 5)  # VOCABULARY
    files = [[(f.text(0), f.number(2)) for f in t.tables(6)] for t in graph.tables(3)]
    assert files == [[("labels.txt", 2)], []]  # TENSOR_AXIS_LABELS


def test_files_lie_behind_the_model_uncompressed(file: Path) -> None:
    """A zip reader finds them, the runtime does not mind."""
    with zipfile.ZipFile(file) as archive:
        assert {info.compress_type for info in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.read("vocab.txt").decode().splitlines() == WORDS
        assert archive.read("labels.txt").decode().splitlines() == NAMES
    (logits, _) = engine.runner(file, 1)({"input_ids": np.array([[0, 4, 1]])})
    assert logits.shape == (1, 3, 2)


def test_only_what_a_model_has_is_attached(graph: Any, tmp_path: Path) -> None:
    """No words without ids, no labels without an output of as many numbers; other tokenizers."""
    model: ir.Model = graph("(float[1,4] x) => (float[1,4] y) { y = Relu(x) }")
    model.metadata_props.update({VOCABULARY: '["a"]', LABELS: '["a", "b"]'})
    name, *_ = engine.write(model, tmp_path, {})
    assert not zipfile.is_zipfile(tmp_path / name)
    assert attachments(b'{"model": {"type": "BPE", "vocab": {"a": 0}}}', {}) == {}
    gap = b'{"model": {"type": "WordPiece", "vocab": {"a": 0, "b": 1000000000000}}}'
    assert attachments(gap, {}) == {}
    assert attachments(b"", {"id2label": None}) == {}

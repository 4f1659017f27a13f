"""TFLite's metadata: what tensors mean, a tokenizer's vocabulary, a classifier's labels.

A flatbuffer in the model's metadata TFLITE_METADATA; the files that it names lie in an uncompressed
zip behind the model. Slots are those of tensorflow_lite_support/metadata/metadata_schema.fbs 1.1.0,
by which Google's task library and code generators read them.
"""

import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ENTRY, IDENTIFIER = "TFLITE_METADATA", b"M001"
VERSION = "1.1.0"
"""Of the oldest reader that knows BertTokenizerOptions."""
AXIS_LABELS, VOCABULARY = 2, 5
"""AssociatedFileType: a line for each index of a tensor's last axis; a word a line."""
BERT_TOKENIZER = 4
"""ProcessUnitOptions."""
MEANINGS = {
    "input_ids": ("ids", "ids of a text's tokens, zeros behind"),
    "attention_mask": ("mask", "1 for a token, 0 for padding"),
    "token_type_ids": ("segment_ids", "0 for the first text, 1 for the second"),
}
"""What the task library calls the inputs of BERT, and their descriptions."""


@dataclass(frozen=True, slots=True)
class Attached:
    """A text file that travels in the model's file, and its AssociatedFileType."""

    name: str
    lines: Sequence[str]
    kind: int
    description: str

    @property
    def data(self) -> bytes:
        """Return its bytes."""
        return "".join(f"{line}\n" for line in self.lines).encode()


def vocabulary_file(words: Sequence[str]) -> Attached:
    """Return vocab.txt: the words of WordPiece by id."""
    return Attached("vocab.txt", words, VOCABULARY, "the WordPiece tokenizer's words, by id")


def label_file(labels: Sequence[str]) -> Attached:
    """Return labels.txt: the names of a classifier's classes."""
    return Attached("labels.txt", labels, AXIS_LABELS, "the classes' names, by index")


def write_metadata(
    title: str,
    inputs: Sequence[str],
    outputs: Sequence[str],
    vocabulary: Attached | None,
    labels: Mapping[str, Attached],
) -> bytes:
    """Return the flatbuffer for a model's tensors by their names; `labels` are by output."""
    import flatbuffers

    b = flatbuffers.Builder(1024)
    ends = [_tensors(b, names, labels) for names in (inputs, outputs)]
    units = []
    if vocabulary is not None:
        options = _table(b, {0: _vector(b, [_file(b, vocabulary)])})
        units.append(_table(b, {1: options}, {0: BERT_TOKENIZER}))
    graph = _table(b, {2: ends[0], 3: ends[1], 5: _vector(b, units)})
    name, version = b.CreateString(title), b.CreateString(VERSION)
    b.Finish(_table(b, {0: name, 3: _vector(b, [graph]), 7: version}), IDENTIFIER)
    return bytes(b.Output())


def append_files(path: Path, files: Iterable[Attached]) -> None:
    """Put files behind a model, as zip writers do; the same files give the same bytes."""
    with zipfile.ZipFile(path, "a", zipfile.ZIP_STORED) as archive:
        for file in files:
            archive.writestr(zipfile.ZipInfo(file.name), file.data)  # of 1980: no clock is read


def _tensors(b: Any, names: Sequence[str], labels: Mapping[str, Attached]) -> int:
    tables = []
    for name in names:
        shown, meaning = MEANINGS.get(name, (name, ""))
        files = [_file(b, labels[name])] if name in labels else []
        said = b.CreateString(f"{name}: {meaning}" if meaning else name)
        tables.append(_table(b, {0: b.CreateString(shown), 1: said, 6: _vector(b, files)}))
    return _vector(b, tables)


def _file(b: Any, file: Attached) -> int:
    name, description = b.CreateString(file.name), b.CreateString(file.description)
    return _table(b, {0: name, 1: description}, {2: file.kind})


def _vector(b: Any, tables: Sequence[int]) -> int:
    """Write a vector of tables; return 0, which leaves a field out, where there are none."""
    if not tables:
        return 0
    b.StartVector(4, len(tables), 4)
    for table in reversed(tables):
        b.PrependUOffsetTRelative(table)
    return int(b.EndVector())


def _table(b: Any, offsets: Mapping[int, int], small: Mapping[int, int] | None = None) -> int:
    """Write a table of offsets and one-byte numbers by slot."""
    small = small or {}
    b.StartObject(max({**offsets, **small}) + 1)
    for slot, offset in offsets.items():
        b.PrependUOffsetTRelativeSlot(slot, offset, 0)
    for slot, number in small.items():
        b.PrependInt8Slot(slot, number, 0)
    return int(b.EndObject())

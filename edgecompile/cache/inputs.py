"""The files that a build reads, hashed before any work: the same files may mean the same result."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.cache.digest import files_of, fingerprint
from edgecompile.files import sha256
from edgecompile.recipe import Recipe

if TYPE_CHECKING:
    from edgecompile.export.read_model import Source

SMALL = ("*.json", "*/*.json", "*.txt", "*.model", "*.jinja")
"""What exporters and tokenizers may read in a model's directory, besides its `Source.files`."""
DATA = (
    ("model", "tokenizer"),
    ("calibration", "data"),
    ("evaluate", "data"),
    ("prune", "data"),
    ("prune", "vocabulary"),
    ("distill", "student"),
)
"""The keys of a recipe that name a file or folder which a build reads."""
COMMITTED = ("docs.jsonl", "golden.jsonl", "repair.jsonl")
"""What is read where a recipe names no data."""


@dataclass(frozen=True, slots=True)
class Inputs:
    """Hashes by name of the model's files, and of what lies beside them; what the data is.

    `stamps` are sizes and times of all, as they were hashed.
    """

    model: Mapping[str, str]
    beside: Mapping[str, str] = field(default_factory=dict)
    data: Mapping[str, Any] = field(default_factory=dict)
    stamps: Mapping[Path, tuple[int, int]] = field(default_factory=dict)

    def unchanged(self) -> bool:
        """Say whether no file was written since it was hashed."""
        try:
            return all(_stamp(path) == was for path, was in self.stamps.items())
        except OSError:
            return False


def read_model_inputs(source: "Source") -> Inputs:
    """Hash the files of a model alone: what a manifest says, and no cache is asked."""
    return Inputs({_name(path, source.folder): sha256(path) for path in _model_files(source)})


def read_inputs(source: "Source", recipe: Recipe) -> Inputs:
    """Hash all that a build reads: the files of a model, and a recipe's data."""
    model = _model_files(source)
    beside = _beside(source) - set(model)
    named = {".".join(key): path for key, path in _data(recipe)}
    every = {*model, *beside, *(file for path in named.values() for file in files_of(path))}
    stamps = {path: _stamp(path) for path in every}
    return Inputs(
        {_name(path, source.folder): sha256(path) for path in model},
        {_name(path, source.folder): sha256(path) for path in sorted(beside)},
        {key: [path.name, fingerprint(path)] for key, path in named.items()},
        stamps,
    )


def _model_files(source: "Source") -> list[Path]:
    try:
        found = source.files
    except Exception:  # protobuf and onnx_ir raise their own; the exporter says what is wrong
        found = [source.path]
    return [path for path in found if path.is_file()]


def _beside(source: "Source") -> set[Path]:
    if not source.path.is_dir():
        return set()
    found = {path for pattern in SMALL for path in source.folder.glob(pattern)}
    return {path for path in found if path.is_file()}


def _data(recipe: Recipe) -> Iterator[tuple[tuple[str, str], Path]]:
    from edgecompile.data.committed import data_dir

    for table, key in DATA:
        given = str(getattr(getattr(recipe, table), key))
        read = bool(given) and (table != "distill" or recipe.distils)
        if read and not _is_word(given):
            yield (table, key), recipe.path(given)
    for name in COMMITTED:
        yield ("committed", name), data_dir() / name


def _is_word(data: str) -> bool:
    """Say whether it is no path, but a word such as "random"."""
    if not data.isalpha():
        return False
    from edgecompile.data.source import word_of

    return word_of(data) is not None


def _name(path: Path, folder: Path) -> str:
    return os.path.relpath(path, folder)


def _stamp(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns

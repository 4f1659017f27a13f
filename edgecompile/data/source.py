"""Data on disk -> a source of feeds, by the kind of data that it is.

A kind is a file in `kinds/`. A source reads lazily: it holds no sample, and each pass over it reads
the data again, so that memory does not depend on the number of samples.
"""

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.data import folders
from edgecompile.data.encoder import Encoder, open_encoder
from edgecompile.data.feed import Feed
from edgecompile.data.signature import Signature, signature_of
from edgecompile.errors import DataError

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(frozen=True, slots=True)
class Request:
    """What data is read for: the model, where its tokenizer or preprocessor lies, the limits."""

    model: "ir.Model"
    signature: Signature
    folder: Path
    longest: int
    encoder: Callable[[], Encoder]
    column: str = ""


def request_of(model: "ir.Model", folder: Path, longest: int) -> Request:
    """Return a request for a model; the tokenizer is opened once, if text is read at all."""
    encoder = cache(lambda: open_encoder(folder, model, longest))
    return Request(model, signature_of(model), folder, longest, encoder)


@dataclass(frozen=True, slots=True)
class Source:
    """Data that was opened.

    `count(limit)` says how many samples there are, at most `limit`; `feeds(start, stop)` reads
    those samples anew. `files` are what they come from, in order; `through` is the model's own file
    that they are read with. Of text, `texts()` yields all of it anew. A `warning` is what every
    user of the data must be told.
    """

    kind: str
    path: Path
    count: Callable[[int], int]
    feeds: Callable[[int, int], Iterator[Feed]]
    files: Sequence[Path] = ()
    through: Path | None = None
    texts: Callable[[], Iterator[str]] | None = None
    warning: str = ""


def skipping(source: Source, start: int, stop: int) -> Source:
    """Return the source without the samples from `start` to `stop`."""
    gap = stop - start

    def feeds(first: int, last: int) -> Iterator[Feed]:
        yield from source.feeds(min(first, start), min(last, start))
        yield from source.feeds(max(first, start) + gap, max(last, start) + gap)

    return replace(source, count=lambda limit: source.count(limit + gap) - gap, feeds=feeds)


@dataclass(frozen=True, slots=True)
class Stretch:
    """Some of a source's samples, read anew in each iteration."""

    source: Source
    start: int
    stop: int

    def __iter__(self) -> Iterator[Feed]:
        """Read them."""
        return self.source.feeds(self.start, self.stop)

    def __len__(self) -> int:
        """Say how many there are."""
        return self.stop - self.start

    def first(self, count: int) -> "Stretch":
        """Return the first ones, as many as there are."""
        return replace(self, stop=min(self.start + count, self.stop))

    def after(self, count: int) -> "Stretch":
        """Return all but the first ones."""
        return replace(self, start=min(self.start + count, self.stop))


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of data: `suffixes` of its file or, for a folder, of the files in it.

    A kind that reads no file has a `word` that stands for it. `what` names it in errors.
    """

    name: str
    what: str
    open: Callable[[Path, Sequence[Path], Request], Source]
    suffixes: tuple[str, ...] = ()
    folder: bool = False
    columns: bool = False
    word: str = ""


@cache
def kinds() -> tuple[Kind, ...]:
    """Return all kinds, found by their folder."""
    package = importlib.import_module("edgecompile.data.kinds")
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    return tuple(v for m in modules for v in vars(m).values() if isinstance(v, Kind))


def known() -> str:
    """Return what can be given, for errors."""
    *others, last = (kind.what for kind in kinds())
    return f"{', '.join(others)} or {last}"


def word_of(data: str) -> Kind | None:
    """Return the kind that a word like "random" stands for."""
    return next((kind for kind in kinds() if kind.word and kind.word == data), None)


def open_source(path: Path, request: Request) -> Source:
    """Open a file or folder as the kind of data that it is."""
    if path.is_dir():
        kind, files = _kind_of_folder(path)
    elif path.is_file():
        suffix = path.suffix.lower()
        found = [k for k in kinds() if not k.folder and suffix in k.suffixes]
        if not found:
            msg = f"{path}: not a known kind of data; give {known()}"
            raise DataError(msg)
        kind, files = found[0], [path]
    else:
        msg = f"{path}: no such file or folder; give {known()}"
        raise DataError(msg)
    if request.column and not kind.columns:
        msg = f"{path}: {kind.what} have no columns; leave out 'column'"
        raise DataError(msg)
    return kind.open(path, files, request)


def _kind_of_folder(path: Path) -> tuple[Kind, list[Path]]:
    candidates = [kind for kind in kinds() if kind.folder]
    found = folders.find(path, {suffix for kind in candidates for suffix in kind.suffixes})
    present = [k for k in candidates if any(f.suffix.lower() in k.suffixes for f in found)]
    if not present:
        names = ", ".join(suffix for kind in candidates for suffix in kind.suffixes)
        msg = f"{path}: holds no file that could be read ({names}); give {known()}"
        raise DataError(msg)
    if len(present) > 1:
        mixed = " and ".join(kind.name for kind in present)
        msg = f"{path}: holds {mixed}; give a folder of one kind"
        raise DataError(msg)
    return present[0], found

"""Model inputs, ready made: an .npz of arrays [samples, ...] by input name.

The archive is read as a stream, a sample of each array at a time: what its headers claim is never
allocated, and memory does not depend on the number of samples.
"""

import math
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy

from edgecompile.data.feed import Feed
from edgecompile.data.signature import Signature
from edgecompile.data.source import Kind, Request, Source
from edgecompile.errors import DataError

SAMPLE_BYTES = 1 << 30
"""A larger sample is refused before memory is asked for."""


@dataclass(frozen=True, slots=True)
class Member:
    """One array of the archive: its file there, where its numbers start, its type and shape."""

    file: str
    offset: int
    dtype: np.dtype[Any]
    shape: tuple[int, ...]

    @property
    def sample_bytes(self) -> int:
        """Return the bytes of one sample."""
        return math.prod(self.shape[1:]) * self.dtype.itemsize


def open_arrays(path: Path, files: Sequence[Path], request: Request) -> Source:
    """Open an .npz; what its headers say must fit the model and the archive's size."""
    with _readable(path), zipfile.ZipFile(path) as archive:
        members = {_name(info.filename): _member(archive, info) for info in archive.infolist()}
    _check(path, members, request.signature)
    members = {name: members[name] for name in request.signature.inputs}
    samples = next(iter(members.values())).shape[0]

    def feeds(start: int, stop: int) -> Iterator[Feed]:
        return _feeds(path, members, request.signature, range(start, min(stop, samples)))

    return Source("inputs", path, lambda limit: min(limit, samples), feeds, files)


def _check(path: Path, members: Mapping[str, Member], signature: Signature) -> None:
    forms = {name: (member.dtype, member.shape) for name, member in members.items()}
    signature.check_form(str(path), forms)
    counts = {member.shape[:1] for member in members.values()}
    if len(counts) != 1 or (0,) in counts or () in counts:
        found = sorted(count[0] if count else 0 for count in counts)
        msg = f"{path}: arrays hold {found} samples; each must hold the same number"
        raise DataError(msg)
    size = sum(member.sample_bytes for member in members.values())
    if size > SAMPLE_BYTES:
        msg = f"{path}: a sample takes {size:,} bytes; at most {SAMPLE_BYTES:,} are read"
        raise DataError(msg)


def _feeds(
    path: Path, members: Mapping[str, Member], signature: Signature, numbers: range
) -> Iterator[Feed]:
    with ExitStack() as stack:
        with _readable(path):
            archive = stack.enter_context(zipfile.ZipFile(path))
            streams: dict[str, IO[bytes]] = {}
            for name, member in members.items():
                streams[name] = stack.enter_context(archive.open(member.file))
                streams[name].seek(member.offset + numbers.start * member.sample_bytes)
        for number in numbers:
            with _readable(path):
                feed = {name: _sample(streams[name], m) for name, m in members.items()}
            yield signature.check(f"{path}, sample {number + 1}", feed)


def _sample(stream: IO[bytes], member: Member) -> np.ndarray[Any, Any]:
    data = stream.read(member.sample_bytes)
    return np.frombuffer(data, member.dtype).reshape(1, *member.shape[1:])


def _name(file: str) -> str:
    return file.removesuffix(".npy")


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo) -> Member:
    """Read the header of one array, and compare it with the size that the archive states."""
    with archive.open(info) as stream:
        version = npy.read_magic(stream)
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(version)
        if read is None:
            msg = f"'{info.filename}' is not a plain array"
            raise ValueError(msg)
        shape, fortran, dtype = read(stream)
        offset = stream.tell()
    if dtype.hasobject or dtype.names or not dtype.itemsize:
        msg = f"'{info.filename}' holds objects, not numbers"
        raise ValueError(msg)
    if fortran and len(shape) > 1:
        msg = f"'{info.filename}' is stored by column; save np.ascontiguousarray(...) of it"
        raise ValueError(msg)
    size = offset + math.prod(shape) * dtype.itemsize
    if info.file_size != size:
        msg = f"'{info.filename}' has {info.file_size:,} bytes, its header says {size:,}"
        raise ValueError(msg)
    return Member(info.filename, offset, dtype, shape)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """Turn whatever zipfile, zlib and numpy raise into one line."""
    try:
        yield
    except Exception as error:
        what = (str(error).strip().splitlines() or [type(error).__name__])[0]
        msg = f"{path}: not a readable .npz of plain arrays: {what}"
        raise DataError(msg) from error


KIND = Kind("inputs", "model inputs (.npz)", open_arrays, (".npz",))

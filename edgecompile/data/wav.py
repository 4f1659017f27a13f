"""A .wav file -> one channel of float32 in [-1, 1].

The format is RIFF (Multimedia Programming Interface and Data Specifications 1.0, 1991, chapter 3;
WAVE_FORMAT_EXTENSIBLE as Microsoft added it). The standard library's `wave` reads no floats.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from edgecompile.errors import DataError
from edgecompile.graph import FloatArray

PCM, FLOAT, EXTENSIBLE = 1, 3, 0xFFFE
UNKNOWN_BYTES = 0xFFFFFFFF
"""What a program that writes to a pipe states as a length: read to the end."""
FORMATS = {(PCM, 8): "u1", (PCM, 16): "<i2", (PCM, 24): "u1", (PCM, 32): "<i4"}
FORMATS |= {(FLOAT, 32): "<f4", (FLOAT, 64): "<f8"}
MOST_CHANNELS = 64


@dataclass(frozen=True, slots=True)
class Layout:
    """How samples lie in the file; `rate_hz` of each channel."""

    code: int
    bits: int
    channels: int
    rate_hz: int
    start: int
    size_bytes: int


def read_wav(path: Path, rate_hz: int, seconds: float) -> FloatArray:
    """Return the mean of all channels, float32 [samples], of the file's first `seconds`.

    Another sampling rate is refused: resampling is the user's choice of filter.
    """
    try:
        with path.open("rb") as file:
            layout = _layout(file, path.stat().st_size)
            _check(path, layout, rate_hz)
            width = layout.bits // 8 * layout.channels
            count = min(layout.size_bytes // width, int(seconds * rate_hz))
            file.seek(layout.start)
            data = file.read(count * width)
    except (OSError, ValueError, struct.error) as error:
        msg = f"{path}: not a readable .wav: {error}"
        raise DataError(msg) from error
    if not count:
        msg = f"{path}: holds no sound"
        raise DataError(msg)
    channels = _numbers(data, layout).reshape(count, layout.channels)
    return np.asarray(channels.mean(axis=1, dtype=np.float32))


def _check(path: Path, layout: Layout, rate_hz: int) -> None:
    if layout.rate_hz != rate_hz:
        msg = (
            f"{path}: is sampled at {layout.rate_hz} Hz, the model takes {rate_hz}; convert it, for"
            f" example: ffmpeg -i IN.wav -ar {rate_hz} OUT.wav"
        )
        raise DataError(msg)


def _layout(file: BinaryIO, size: int) -> Layout:
    riff, _, wave = struct.unpack("<4sI4s", file.read(12))
    if (riff, wave) != (b"RIFF", b"WAVE"):
        msg = "it does not begin as one"
        raise ValueError(msg)
    form: tuple[int, int, int, int] | None = None
    while header := file.read(8):
        name, length = struct.unpack("<4sI", header)
        start = file.tell()
        if name == b"fmt ":
            form = _form(file.read(min(length, 40)))
        elif name == b"data" and form is not None:
            left = size - start
            if length not in (UNKNOWN_BYTES, 0) and length > left:
                msg = f"cut off: {length:,} bytes of sound are stated, {left:,} are there"
                raise ValueError(msg)
            return Layout(*form, start, left if length == UNKNOWN_BYTES else length)
        file.seek(start + length + length % 2)
    msg = "it has no sound" if form else "its format is not told"
    raise ValueError(msg)


def _form(data: bytes) -> tuple[int, int, int, int]:
    """Return format code, bits, channels, rate."""
    code, channels, rate, _, _, bits = struct.unpack("<HHIIHH", data[:16])
    if code == EXTENSIBLE:
        (code,) = struct.unpack("<H", data[24:26])
    if (code, bits) not in FORMATS:
        msg = f"format {code} of {bits} bits; PCM of 8 to 32 bits or float can be read"
        raise ValueError(msg)
    if not 1 <= channels <= MOST_CHANNELS:
        msg = f"{channels} channels"
        raise ValueError(msg)
    return code, bits, channels, rate


def _numbers(data: bytes, layout: Layout) -> FloatArray:
    """Return samples in file order as float32; integers are divided by their largest power of 2."""
    array = np.frombuffer(data, FORMATS[layout.code, layout.bits])
    if layout.code == FLOAT:
        return array.astype(np.float32)
    if layout.bits == 8:
        return (array.astype(np.float32) - 128) / 128
    if layout.bits == 24:  # as the upper bytes of 32 bits, where the sign is
        wide = np.zeros((len(array) // 3, 4), np.uint8)
        wide[:, 1:] = array.reshape(-1, 3)
        return (wide.view("<i4").ravel() / 2.0**31).astype(np.float32)
    return (array / 2.0 ** (layout.bits - 1)).astype(np.float32)

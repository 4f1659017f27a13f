"""Folders of .wav: what each becomes, and what is wrong with one. Parity is in exporters/."""

import json
import struct
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.data.feed import Feed
from edgecompile.data.wav import read_wav
from edgecompile.errors import DataError, EdgeCompileError

Takes, Read = Callable[..., ir.Model], Callable[..., list[Feed]]
RATE = 16_000
TONE = (0.5 * np.sin(np.arange(RATE // 2) / 10)).astype(np.float32)


def riff(code: int, bits: int, channels: int, data: bytes, *, stated: int | None = None) -> bytes:
    """Return a .wav with a chunk that nobody knows before the sound."""
    width = bits // 8 * channels
    form = struct.pack("<HHIIHH", code, channels, RATE, RATE * width, width, bits)
    if code == 0xFFFE:
        form += struct.pack("<HHI", 22, bits, 0) + struct.pack("<H14x", 1)
    chunks = (
        b"fmt " + struct.pack("<I", len(form)) + form + b"LIST" + struct.pack("<I3sx", 3, b"abc")
    )
    chunks += b"data" + struct.pack("<I", len(data) if stated is None else stated) + data
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def encoded(bits: int) -> bytes:
    """Return the tone as integers of so many bits, as .wav holds them."""
    if bits == 8:
        return (TONE * 127 + 128).round().astype(np.uint8).tobytes()
    whole = (TONE.astype(np.float64) * (2.0 ** (bits - 1) - 1)).round().astype("<i4")
    if bits == 24:
        return whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    return whole.astype(f"<i{bits // 8}").tobytes()


@pytest.mark.parametrize("code", [1, 0xFFFE])
@pytest.mark.parametrize("bits", [8, 16, 24, 32])
def test_integers_of_all_widths_are_read(tmp_path: Path, code: int, bits: int) -> None:
    """PCM, plain or extensible, is scaled to -1 ... 1."""
    path = tmp_path / "tone.wav"
    path.write_bytes(riff(code, bits, 1, encoded(bits)))
    found = read_wav(path, RATE, 30)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, TONE, rtol=0, atol=2.0 ** (2 - bits) + 1e-6)


@pytest.mark.parametrize("dtype", ["<f4", "<f8"])
def test_floats_are_read(tmp_path: Path, dtype: str) -> None:
    """Float .wav files are taken as they are."""
    path = tmp_path / "tone.wav"
    path.write_bytes(riff(3, int(dtype[2]) * 8, 1, TONE.astype(dtype).tobytes()))
    np.testing.assert_array_equal(read_wav(path, RATE, 30), TONE)


def test_channels_are_averaged(tmp_path: Path) -> None:
    """Stereo becomes the mean of left and right."""
    path = tmp_path / "tone.wav"
    path.write_bytes(riff(3, 32, 2, np.stack([TONE, TONE * 0], axis=1).tobytes()))
    np.testing.assert_array_equal(read_wav(path, RATE, 30), TONE / 2)


def test_what_the_standard_library_writes_is_read(tmp_path: Path) -> None:
    """A file of `wave`, of which only the first seconds are asked for."""
    path = tmp_path / "tone.wav"
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, RATE, 0, "NONE", ""))
        file.writeframes(encoded(16))
    assert len(read_wav(path, RATE, 0.25)) == RATE // 4


def test_a_length_that_a_pipe_did_not_know_is_found(tmp_path: Path) -> None:
    """Programs that write to a pipe state 4 GiB: the file is read to its end."""
    path = tmp_path / "tone.wav"
    path.write_bytes(riff(3, 32, 1, TONE.tobytes(), stated=0xFFFFFFFF))
    assert len(read_wav(path, RATE, 30)) == len(TONE)


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "not a readable .wav: "),
        (b"ID3 an .mp3 with another name", "not a readable .wav: it does not begin as one"),
        (riff(1, 16, 1, encoded(16))[:30], "not a readable .wav: "),
        (riff(1, 16, 1, encoded(16))[:-100], "not a readable .wav: cut off: 16,000 bytes of sound"),
        (riff(6, 8, 1, b"x" * 100), "not a readable .wav: format 6 of 8 bits; PCM of 8 to 32 bits"),
        (riff(1, 16, 0, b""), "not a readable .wav: 0 channels"),
        (riff(1, 16, 1, b""), "holds no sound"),
        (riff(3, 32, 1, np.full(99, np.nan, "<f4").tobytes()), "input 'input_values' holds NaN"),
    ],
)
def test_a_wav_that_cannot_be_read_is_named(
    takes: Takes, read: Read, tmp_path: Path, data: bytes, what: str
) -> None:
    """Other formats, cut-off files and sound that is none: the file and the reason, on one line."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(WAV2VEC2))
    path = tmp_path / "bad.wav"
    path.write_bytes(data)
    with pytest.raises(DataError) as caught:
        read(tmp_path, takes(input_values=("batch", "samples")), tmp_path)
    assert str(caught.value).startswith(f"{path}: {what}")
    assert "\n" not in str(caught.value)


WAV2VEC2 = {"feature_extractor_type": "Wav2Vec2FeatureExtractor"}
WHISPER = {"feature_extractor_type": "WhisperFeatureExtractor"}


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """Return a folder with two tones."""
    folder = tmp_path / "sound"
    folder.mkdir()
    for name in ("a.wav", "b.WAV"):
        (folder / name).write_bytes(riff(1, 16, 1, encoded(16)))
    return folder


@pytest.mark.parametrize(
    ("config", "shapes", "found"),
    [
        (WAV2VEC2, {"input_values": ("b", "s")}, {"input_values": (1, len(TONE))}),
        (
            WAV2VEC2,
            {"input_values": (1, 10_000), "attention_mask": (1, 10_000)},
            {"input_values": (1, 10_000), "attention_mask": (1, 10_000)},
        ),
        (WHISPER, {"input_features": ("b", 80, 3000)}, {"input_features": (1, 80, 3000)}),
    ],
)
def test_sound_becomes_what_the_model_takes(
    *,
    takes: Takes,
    read: Read,
    sound: Path,
    tmp_path: Path,
    config: dict[str, str],
    shapes: dict[str, tuple[int | str, ...]],
    found: dict[str, tuple[int, ...]],
) -> None:
    """One feed a file, of the model's names and lengths."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    feeds = read(sound, takes(**shapes), tmp_path)
    assert [{name: array.shape for name, array in feed.items()} for feed in feeds] == [found] * 2


def test_another_sampling_rate_is_refused(
    takes: Takes, read: Read, sound: Path, tmp_path: Path
) -> None:
    """Both rates, and how to convert."""
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({**WAV2VEC2, "sampling_rate": 8000})
    )
    with pytest.raises(DataError) as caught:
        read(sound, takes(input_values=("batch", "samples")), tmp_path)
    assert str(caught.value).endswith(
        ": is sampled at 16000 Hz, the model takes 8000; convert it, for example: ffmpeg -i"
        " IN.wav -ar 8000 OUT.wav"
    )


@pytest.mark.parametrize(
    ("config", "shapes", "what"),
    [
        ({}, {"input_values": ("b", "s")}, "sound for 'a class that it does not name' cannot be"),
        (
            WAV2VEC2,
            {"pixel_values": ("b", "s")},
            "Wav2Vec2FeatureExtractor makes input_values",
        ),
        (
            WHISPER,
            {"input_values": ("b", "s")},
            "WhisperFeatureExtractor makes input_features",
        ),
        (WHISPER, {"input_features": ("b", 128, 3000)}, "has shape [1, 80, 3000], the model takes"),
        ({**WHISPER, "chunk_length": 10**9}, {"input_features": ("b", 80, 3000)}, "'chunk_length'"),
        (
            {**WHISPER, "hop_length": 0},
            {"input_features": ("b", 80, 3000)},
            "'hop_length'",
        ),
    ],
)
def test_what_does_not_fit_is_named(
    *,
    takes: Takes,
    read: Read,
    sound: Path,
    tmp_path: Path,
    config: dict[str, object],
    shapes: dict[str, tuple[int | str, ...]],
    what: str,
) -> None:
    """A model or a preprocessor_config.json of another kind: what it is and what is known."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(config))
    with pytest.raises(EdgeCompileError) as caught:
        read(sound, takes(**shapes), tmp_path)
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)

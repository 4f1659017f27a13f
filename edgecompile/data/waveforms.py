"""A waveform -> the inputs of one model, as its feature extractor in transformers makes them."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from edgecompile.data.log_mel import log_mel, mel_filters
from edgecompile.data.preprocessor import Preprocessor
from edgecompile.data.signature import Signature
from edgecompile.errors import DataError, ModelError
from edgecompile.graph import Array, FloatArray

LONGEST_S = 30
"""Longer sound is cut, as texts are: attention over minutes fills the memory."""

Features = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Extractor:
    """`rate_hz` and `seconds` of sound that are read, and what they become."""

    rate_hz: int
    seconds: float
    extract: Callable[[FloatArray], Features]


def read_extractor(file: Preprocessor, signature: Signature) -> Extractor:
    """Read how sound becomes a model's inputs."""
    makers = {"Wav2Vec2FeatureExtractor": _wav2vec2, "WhisperFeatureExtractor": _whisper}
    if file.kind not in makers:
        msg = (
            f"{file.path}: sound for '{file.kind or 'a class that it does not name'}' cannot be"
            f" prepared; known: {', '.join(makers)}; give model inputs as --data FILE.npz"
        )
        raise ModelError(msg)
    return makers[file.kind](file, signature)


def _wav2vec2(file: Preprocessor, signature: Signature) -> Extractor:
    """Make input_values [1, samples], of mean 0 and variance 1; padded to a model's fixed length.

    x <- (x - mean) / sqrt(variance + 1e-7). Without an attention mask (return_attention_mask
    false), the zeros of the padding count too: models that take none were trained so.
    """
    _want(file, signature, "input_values", optional="attention_mask")
    file = file.over({"sampling_rate": 16_000, "padding_value": 0.0, "do_normalize": True})
    rate, silence = file.integer("sampling_rate", 1000, 400_000), file.number("padding_value")
    normalise, masked = file.flag("do_normalize"), file.flag("return_attention_mask")
    shape = signature.inputs["input_values"].shape
    length = shape[1] if shape is not None and len(shape) == 2 else None

    def extract(wave: FloatArray) -> Features:
        heard = len(wave)
        if length is not None:
            wave = np.pad(wave[:length], (0, max(0, length - heard)), constant_values=silence)
            heard = min(heard, length)
        counted = heard if masked else len(wave)
        if normalise:
            wave = (wave - wave[:counted].mean()) / np.sqrt(wave[:counted].var() + 1e-7)
            wave[counted:] = silence
        features: Features = {"input_values": wave[None].astype(np.float32)}
        if "attention_mask" in signature.inputs:
            features["attention_mask"] = (np.arange(len(wave)) < heard)[None]
        return features

    seconds = LONGEST_S if length is None else length / rate
    return Extractor(rate, seconds, extract)


def _whisper(file: Preprocessor, signature: Signature) -> Extractor:
    """Make input_features [1, mels, frames] of a chunk of one length, silence behind the sound."""
    _want(file, signature, "input_features")
    file = file.over(
        {"feature_size": 80, "sampling_rate": 16_000, "hop_length": 160, "chunk_length": 30,
         "n_fft": 400, "padding_value": 0.0}
    )  # fmt: skip
    rate = file.integer("sampling_rate", 1000, 48_000)
    seconds = file.integer("chunk_length", 1, 120)
    fft, hop = file.integer("n_fft", 16, 8192), file.integer("hop_length", 16, 8192)
    filters = mel_filters(1 + fft // 2, file.integer("feature_size", 1, 512), rate)
    silence = file.number("padding_value")

    def extract(wave: FloatArray) -> Features:
        missing = seconds * rate - len(wave)
        chunk = np.pad(wave, (0, missing), constant_values=silence)
        return {"input_features": log_mel(chunk, filters, fft, hop)[None]}

    return Extractor(rate, seconds, extract)


def _want(file: Preprocessor, signature: Signature, name: str, optional: str = "") -> None:
    if not {name} <= set(signature.inputs) <= {name, optional}:
        msg = f"{file.kind} makes {name}; the model takes {list(signature.inputs)}"
        raise DataError(msg)

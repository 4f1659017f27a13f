"""A waveform -> log-mel features, as Whisper takes them (Radford et al. 2022, section 2.2).

The steps are those of transformers' WhisperFeatureExtractor; the test of parity is
tests/exporters/test_preprocessors.py.
"""

import numpy as np

from edgecompile.graph import FloatArray

FLOOR = 1e-10
RANGE = 8.0
"""Decades below the loudest value that are kept."""
HIGHEST_HZ = 8000.0


def log_mel(wave: FloatArray, filters: FloatArray, fft: int, hop: int) -> FloatArray:
    """Turn [samples] into [mels, samples // hop], float32.

    Power of a short-time Fourier transform (Hann window of `fft` samples every `hop`, the ends
    mirrored), through the mel filters, log10, the last frame left out; then
    (max(x, max(x) - 8) + 4) / 4.
    """
    padded = np.pad(wave, fft // 2, mode="reflect").astype(np.float64)
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(fft) / fft)
    frames = np.lib.stride_tricks.sliding_window_view(padded, fft)[::hop][:-1]
    power = np.square(np.abs(np.fft.rfft(frames * window)))
    mels = np.log10(np.maximum(FLOOR, filters.T @ power.T)).astype(np.float32)
    return np.asarray((np.maximum(mels, mels.max() - RANGE) + 4.0) / 4.0)


def mel_filters(bins: int, mels: int, rate_hz: int) -> FloatArray:
    """Return triangular filters, float64 [bins, mels]: equally wide in mel, each of area 1.

    Slaney's mel scale (Auditory Toolbox, 1998): linear to 1000 Hz, logarithmic above.
    """
    top = _mel(HIGHEST_HZ)
    edges = _hertz(np.linspace(0.0, top, mels + 2))
    slopes = edges - np.linspace(0, rate_hz // 2, bins)[:, None]
    width = np.diff(edges)
    rising, falling = -slopes[:, :-2] / width[:-1], slopes[:, 2:] / width[1:]
    triangles = np.maximum(0.0, np.minimum(rising, falling))
    return np.asarray(triangles * (2.0 / (edges[2:] - edges[:-2])))


def _mel(hertz: float) -> float:
    """Slaney: 3 f / 200 below 1000 Hz, 15 + 27 ln(f / 1000) / ln 6.4 above."""
    if hertz < 1000:
        return 3 * hertz / 200
    return float(15.0 + 27.0 * np.log(hertz / 1000) / np.log(6.4))


def _hertz(mel: FloatArray) -> FloatArray:
    above = 1000.0 * np.exp(np.log(6.4) / 27.0 * (mel - 15.0))
    return np.where(mel < 15.0, 200.0 * mel / 3.0, above)

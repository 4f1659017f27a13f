"""Images and sound are prepared as transformers' own processors do it, number by number."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from edgecompile.data.log_mel import mel_filters
from edgecompile.data.pixels import read_steps
from edgecompile.data.preprocessor import read_preprocessor
from edgecompile.data.signature import Input, Signature
from edgecompile.data.waveforms import read_extractor

pytestmark = pytest.mark.exporters

Array = np.ndarray[Any, Any]
SIZES = ((300, 200), (200, 301), (97, 33), (31, 64), (224, 224))
"""Width and height: larger and smaller than what models take, odd and even."""
CLASSES: tuple[tuple[str, dict[str, Any]], ...] = (
    ("ViTImageProcessor", {}),
    ("ViTImageProcessor", {"size": {"height": 96, "width": 64}, "resample": 3}),
    ("ViTImageProcessor", {"do_resize": False, "do_normalize": False}),
    ("ViTImageProcessor", {"do_rescale": False, "image_mean": [0.4, 0.5, 0.6]}),
    ("DeiTImageProcessor", {}),
    ("DeiTImageProcessor", {"size": 64, "crop_size": 63}),
    ("DeiTImageProcessor", {"size": 48, "crop_size": {"height": 65, "width": 32}}),
    ("BeitImageProcessor", {}),
    ("CLIPImageProcessor", {}),
    ("CLIPImageProcessor", {"do_resize": False}),
    ("SiglipImageProcessor", {}),
    ("BitImageProcessor", {}),
)


@pytest.mark.parametrize(("name", "changes"), CLASSES)
@pytest.mark.parametrize("silent", [False, True])
def test_images_are_prepared_as_transformers_does(
    tmp_path: Path,
    name: str,
    changes: dict[str, Any],
    silent: bool,  # noqa: FBT001 - a case
) -> None:
    """Equal pixels, from a file that the class has written and from one with its name alone."""
    import transformers
    from transformers.image_utils import load_image

    processor = getattr(transformers, name)(**changes)
    processor.save_pretrained(tmp_path)
    if silent:
        values = {"image_processor_type": name, **changes}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(values))
    steps = read_steps(read_preprocessor(tmp_path, "images"), None)
    random = np.random.default_rng(0)
    for width, height in SIZES:
        path = tmp_path / "image.png"
        Image.fromarray(random.integers(0, 256, (height, width, 3), np.uint8)).save(path)
        wanted = processor(load_image(str(path)), return_tensors="np")["pixel_values"]
        found = steps(path)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1", "CMYK"])
def test_images_of_any_mode_and_orientation(tmp_path: Path, mode: str) -> None:
    """Gray, palette, transparent and turned images become the RGB that transformers loads."""
    import transformers
    from transformers.image_utils import load_image

    processor = transformers.ViTImageProcessor()
    processor.save_pretrained(tmp_path)
    steps = read_steps(read_preprocessor(tmp_path, "images"), 3)
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(pixels).convert(mode).save(path, exif=exif)
    wanted = processor(load_image(str(path)), return_tensors="np")["pixel_values"]
    np.testing.assert_allclose(steps(path), wanted, rtol=0, atol=1e-6)


def wave(seconds: float, rate: int = 16_000) -> Array:
    """Return a chirp with noise, float32."""
    time = np.arange(int(seconds * rate)) / rate
    noise = np.random.default_rng(0).normal(size=len(time))
    return (0.4 * np.sin(2000 * time * time) + 0.01 * noise).astype(np.float32)


def saved(folder: Path, name: str, **changes: Any) -> Any:
    """Return a feature extractor of transformers, whose file lies in a folder."""
    import transformers

    extractor = getattr(transformers, name)(**changes)
    extractor.save_pretrained(folder)
    return extractor


def signature(**shapes: list[int | None]) -> Signature:
    """Return a model's inputs."""
    return Signature({name: Input(np.dtype(np.float32), shape) for name, shape in shapes.items()})


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize("length", [None, 8000, 24_000])
def test_waveforms_are_prepared_as_transformers_does(
    tmp_path: Path,
    normalise: bool,  # noqa: FBT001 - a case
    masked: bool,  # noqa: FBT001 - a case
    length: int | None,
) -> None:
    """One by one or, for a model of one length, padded or cut to it, with the mask it takes."""
    theirs = saved(
        tmp_path, "Wav2Vec2FeatureExtractor", do_normalize=normalise, return_attention_mask=masked
    )
    inputs = signature(input_values=[None, length], attention_mask=[None, length])
    ours = read_extractor(read_preprocessor(tmp_path, "sound"), inputs)
    x = wave(1.0)
    asked = {"padding": "max_length", "max_length": length, "truncation": True} if length else {}
    wanted = theirs(x, sampling_rate=16_000, return_tensors="np", **asked)
    found = ours.extract(x)
    np.testing.assert_allclose(found["input_values"], wanted["input_values"], rtol=0, atol=2e-6)
    if masked:
        np.testing.assert_array_equal(found["attention_mask"], wanted["attention_mask"])


@pytest.mark.parametrize("seconds", [0.5, 30.0])
@pytest.mark.parametrize("mels", [80, 128])
def test_log_mel_features_are_those_of_transformers(
    tmp_path: Path, seconds: float, mels: int
) -> None:
    """Whisper's features: equal to the numpy path, and to torch's within its float32."""
    theirs = saved(tmp_path, "WhisperFeatureExtractor", feature_size=mels)
    inputs = signature(input_features=[None, mels, 3000])
    ours = read_extractor(read_preprocessor(tmp_path, "sound"), inputs)
    x = wave(seconds)
    found = ours.extract(x)["input_features"]
    assert found.shape == (1, mels, 3000)
    assert found.dtype == np.float32
    padded = np.pad(x, (0, 480_000 - len(x)))
    exact = theirs._np_extract_fbank_features(padded[None], "cpu")  # noqa: SLF001 - the reference
    np.testing.assert_allclose(found, exact, rtol=0, atol=1e-6)
    usual = theirs(x, sampling_rate=16_000, return_tensors="np")["input_features"]
    np.testing.assert_allclose(found, usual, rtol=0, atol=2e-4)


@pytest.mark.parametrize(("bins", "mels", "rate"), [(201, 80, 16_000), (201, 128, 16_000)])
def test_mel_filters_are_those_of_transformers(bins: int, mels: int, rate: int) -> None:
    """Slaney's filters."""
    from transformers.audio_utils import mel_filter_bank

    wanted = mel_filter_bank(bins, mels, 0.0, 8000.0, rate, norm="slaney", mel_scale="slaney")
    np.testing.assert_allclose(mel_filters(bins, mels, rate), wanted, rtol=0, atol=1e-12)

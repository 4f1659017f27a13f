"""An image -> pixel_values, as the slow image processors of transformers 4.57 compute them.

    file -> upright -> RGB -> resize -> crop the centre -> rescale -> normalise -> [1, C, H, W]

Pillow resizes, as there; the rest is numpy. Steps, their order and their defaults are those of
ViT-, DeiT-, BeiT-, CLIP- and SiglipImageProcessor (transformers/models/*/image_processing_*.py and
image_transforms.py); the test of parity is tests/exporters/test_preprocessors.py.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.data.preprocessor import Preprocessor
from edgecompile.errors import DataError, ModelError
from edgecompile.graph import FloatArray

if TYPE_CHECKING:
    from PIL.Image import Image

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""Pillow's other readers are never asked: some start programs."""
MOST_PIXELS = 100_000_000
"""A larger image would take gigabytes to decode."""
LARGEST_SIDE = 4096
BILINEAR, BICUBIC = 2, 3
"""Pillow's numbers for its filters, which the files use too."""

HALF = [0.5] * 3
CLIP: Mapping[str, Any] = {
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
}
SHARED: Mapping[str, Any] = {
    "do_resize": True, "do_rescale": True, "rescale_factor": 1 / 255, "do_normalize": True,
    "image_mean": HALF, "image_std": HALF, "resample": BICUBIC, "do_center_crop": False,
}  # fmt: skip
CROPPED = {**SHARED, "do_center_crop": True, "crop_size": 224}
DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "vit": {**SHARED, "size": 224, "resample": BILINEAR},
    "deit": {**CROPPED, "size": 256},
    "beit": {**CROPPED, "size": 256},
    "clip": {
        **CROPPED,
        "size": {"shortest_edge": 224},
        **CLIP,
    },
    "siglip": {**SHARED, "size": 224},
}
"""What each class takes where its file is silent, by the family in its name."""
SAME = {"swin": "vit", "swinv2": "vit", "bit": "clip", "dinov2": "clip"}
"""Families without a class of their own."""
ENDINGS = ("ImageProcessorFast", "ImageProcessor", "FeatureExtractor")


@dataclass(frozen=True, slots=True)
class Steps:
    """What is done to an image; a step that is None is left out. Sizes are (height, width)."""

    mode: str
    size: tuple[int, int] | int | None
    resample: int
    crop: tuple[int, int] | None
    scale: float | None
    mean: FloatArray | None
    std: FloatArray | None

    def __call__(self, path: Path) -> FloatArray:
        """Return an image's pixel_values, float32 [1, C, H, W]."""
        pixels = self._resized(path, open_image(path, self.mode))
        if pixels.ndim == 2:
            pixels = pixels[..., None]
        if self.crop is not None:
            pixels = crop_centre(pixels, *self.crop)
        if self.scale is not None:
            pixels = (pixels.astype(np.float64) * self.scale).astype(np.float32)
        pixels = pixels.astype(np.float32)
        if self.mean is not None and self.std is not None:
            pixels = (pixels - self.mean) / self.std
        return np.ascontiguousarray(pixels.transpose(2, 0, 1))[None]

    def _resized(self, path: Path, image: "Image") -> np.ndarray[Any, Any]:
        from PIL import Image

        if self.size is None:
            return np.asarray(image)
        if isinstance(self.size, int):  # the shorter edge; the other keeps the ratio, rounded down
            short, long = sorted(image.size)
            longer = int(self.size * long / short)
            tall = image.height >= image.width
            height, width = (longer, self.size) if tall else (self.size, longer)
        else:
            height, width = self.size
        if height * width > MOST_PIXELS:
            msg = f"{path}: too long and thin to resize: {image.width} x {image.height} pixels"
            raise DataError(msg)
        return np.asarray(image.resize((width, height), Image.Resampling(self.resample)))


def open_image(path: Path, mode: str) -> "Image":
    """Decode an image, turned upright as its EXIF data says."""
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes: the next lines refuse them
            with Image.open(path, formats=FORMATS) as image:
                if image.width * image.height > MOST_PIXELS:
                    msg = f"{image.width} x {image.height} pixels are too many"
                    raise ValueError(msg)  # noqa: TRY301 - told like all that is wrong with a file
                return ImageOps.exif_transpose(image).convert(mode)
    except Exception as error:  # Pillow raises whatever a decoder does
        what = (str(error).strip().splitlines() or [type(error).__name__])[0]
        msg = f"{path}: not a readable image: {what}"
        raise DataError(msg) from error


def crop_centre(pixels: np.ndarray[Any, Any], height: int, width: int) -> np.ndarray[Any, Any]:
    """[H, W, C] -> [height, width, C]; what is smaller gets a border of 0 first.

    Odd borders are wider at the top and left, odd cuts at the bottom and right.
    """
    missing = [max(0, w - h) for w, h in zip((height, width), pixels.shape[:2], strict=True)]
    pixels = np.pad(pixels, [((m + 1) // 2, m // 2) for m in missing] + [(0, 0)])
    top, left = (pixels.shape[0] - height) // 2, (pixels.shape[1] - width) // 2
    return pixels[top : top + height, left : left + width]


def read_steps(file: Preprocessor, channels: int | None) -> Steps:
    """Read what is done to images; `channels` are those of the model's input, where it tells."""
    name = file.kind
    for ending in ENDINGS:
        name = name.removesuffix(ending)
    family = SAME.get(name.lower(), name.lower())
    if family not in DEFAULTS:
        msg = (
            f"{file.path}: images for '{file.kind or 'a class that it does not name'}' cannot be"
            f" prepared; known: {', '.join(DEFAULTS)}; give model inputs as --data FILE.npz"
        )
        raise ModelError(msg)
    file = file.over(DEFAULTS[family])
    crops = DEFAULTS[family]["do_center_crop"] and file.flag("do_center_crop")
    size = _size(file, "size") if file.flag("do_resize") else None
    crop = _size(file, "crop_size") if crops else None
    if isinstance(crop, int):
        crop = (crop, crop)
    mean = std = None
    if file.flag("do_normalize"):
        mean, std = _channels(file, "image_mean"), _channels(file, "image_std")
    channels = channels or (len(mean) if mean is not None else 3)
    if channels not in (1, 3):
        msg = f"{file.path}: the model takes {channels} channels; images have 3, or 1 if gray"
        raise ModelError(msg)
    for array in (mean, std):
        if array is not None and len(array) not in (1, channels):
            msg = f"{file.path}: image_mean and image_std must hold {channels} numbers each"
            raise ModelError(msg)
    scale = file.number("rescale_factor") if file.flag("do_rescale") else None
    mode = {1: "L", 3: "RGB"}[channels]
    return Steps(mode, size, file.integer("resample", 0, 5), crop, scale, mean, std)


def _size(file: Preprocessor, key: str) -> tuple[int, int] | int:
    """Return (height, width), or the length of the shortest edge."""
    value = file.values.get(key)
    if isinstance(value, int):
        value = {"height": value, "width": value}
    if isinstance(value, list) and len(value) == 2:
        value = dict(zip(("height", "width"), value, strict=True))
    if isinstance(value, dict) and set(value) == {"shortest_edge"}:
        return file.within(key, value["shortest_edge"], 1, LARGEST_SIDE)
    if isinstance(value, dict) and set(value) == {"height", "width"}:
        return tuple(file.within(key, value[side], 1, LARGEST_SIDE) for side in ("height", "width"))  # type: ignore[return-value]
    msg = f"{file.path}: key '{key}' must hold height and width, or shortest_edge; found {value!r}"
    raise ModelError(msg)


def _channels(file: Preprocessor, key: str) -> FloatArray:
    """Return a number by channel, float32 [C]."""
    value = file.values[key]
    numbers = [file.finite(key, v) for v in (value if isinstance(value, list) else [value])]
    if not numbers or (key == "image_std" and 0 in numbers):
        msg = f"{file.path}: key '{key}' must hold a number for each channel, found {value!r}"
        raise ModelError(msg)
    return np.array(numbers, np.float32)

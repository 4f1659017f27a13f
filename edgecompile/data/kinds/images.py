"""A folder of images, prepared as the model's preprocessor_config.json says."""

import importlib.util
from collections.abc import Iterator, Sequence
from pathlib import Path

from edgecompile.data.feed import Feed
from edgecompile.data.pixels import read_steps
from edgecompile.data.preprocessor import read_preprocessor
from edgecompile.data.source import Kind, Request, Source
from edgecompile.errors import DataError

INPUT = "pixel_values"
INSTALL = "pip install 'edgecompile[images]'"


def open_images(path: Path, files: Sequence[Path], request: Request) -> Source:
    """Open a folder of images."""
    inputs = request.signature.inputs
    if list(inputs) != [INPUT]:
        msg = f"{path}: images become {INPUT}; the model takes {list(inputs)}"
        raise DataError(msg)
    if importlib.util.find_spec("PIL") is None:
        msg = f"{path}: images are read with Pillow, which is missing: {INSTALL}"
        raise DataError(msg)
    file = read_preprocessor(request.folder, "images")
    wanted = inputs[INPUT]
    channels = wanted.shape[1] if wanted.shape is not None and len(wanted.shape) == 4 else None
    steps = read_steps(file, channels)

    def feeds(start: int, stop: int) -> Iterator[Feed]:
        for image in files[start:stop]:
            pixels = steps(image).astype(wanted.dtype or "float32", copy=False)
            yield request.signature.check(str(image), {INPUT: pixels})

    return Source("images", path, lambda n: min(n, len(files)), feeds, files, file.path)


KIND = Kind(
    "images",
    "a folder of images (.png, .jpg, .webp, .bmp)",
    open_images,
    (".png", ".jpg", ".jpeg", ".webp", ".bmp"),
    folder=True,
)

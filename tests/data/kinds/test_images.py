"""Folders of images: what each becomes, and what is wrong with one. Parity is in exporters/."""

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from PIL import Image

from edgecompile.data.feed import Feed
from edgecompile.errors import EdgeCompileError

Takes, Read = Callable[..., ir.Model], Callable[..., list[Feed]]
SIDE = 8
CONFIG = {"image_processor_type": "ViTImageProcessorFast", "size": {"height": SIDE, "width": SIDE}}


def config(folder: Path, **changes: object) -> Path:
    """Write a preprocessor_config.json."""
    path = folder / "preprocessor_config.json"
    path.write_text(json.dumps({**CONFIG, **changes}))
    return path


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a folder with a red, a gray and a transparent image, a hidden one and a text."""
    folder = tmp_path / "images"
    (folder / "class").mkdir(parents=True)
    Image.new("RGB", (20, 10), (255, 0, 0)).save(folder / "a.PNG")
    Image.new("L", (10, 20), 128).save(folder / "class" / "b.jpeg")
    Image.new("RGBA", (30, 30), (0, 0, 255, 0)).save(folder / "c.webp")
    (folder / "._a.png").write_bytes(b"not an image")
    (folder / "labels.txt").write_text("red")
    config(tmp_path)
    return folder


def test_images_become_pixel_values(takes: Takes, read: Read, images: Path, tmp_path: Path) -> None:
    """One feed an image, subfolders included: float32 [1, 3, H, W], scaled to -1 ... 1."""
    feeds = read(images, takes(pixel_values=("batch", 3, SIDE, SIDE)), tmp_path)
    assert [list(feed) for feed in feeds] == [["pixel_values"]] * 3
    assert {(f["pixel_values"].shape, str(f["pixel_values"].dtype)) for f in feeds} == {
        ((1, 3, SIDE, SIDE), "float32")
    }
    means = sorted(feed["pixel_values"].mean(axis=(0, 2, 3)).round(1).tolist() for feed in feeds)
    assert means == [[-1, -1, 1], [0, 0, 0], [1, -1, -1]]


def test_the_types_and_channels_are_the_models(
    takes: Takes, read: Read, images: Path, tmp_path: Path
) -> None:
    """Half precision and gray images, if the model takes those."""
    config(tmp_path, image_mean=[0.5], image_std=[0.5])
    model = takes(ir.DataType.FLOAT16, pixel_values=("batch", 1, SIDE, SIDE))
    assert {f["pixel_values"].dtype for f in read(images, model, tmp_path)} == {np.dtype("float16")}


@pytest.mark.parametrize(
    ("shapes", "what"),
    [
        ({"x": ("b", 3, SIDE, SIDE)}, "images become pixel_values; the model takes ['x']"),
        ({"pixel_values": ("b", 3, 9, 9)}, "has shape [1, 3, 8, 8], the model takes [?, 3, 9, 9]"),
        ({"pixel_values": (4, 3, SIDE, SIDE)}, "has a fixed batch of 4, samples come one by one"),
        ({"pixel_values": ("b", 4, SIDE, SIDE)}, "the model takes 4 channels; images have 3"),
    ],
)
def test_a_model_that_takes_no_such_image_is_named(
    *,
    takes: Takes,
    read: Read,
    images: Path,
    tmp_path: Path,
    shapes: dict[str, tuple[int | str, ...]],
    what: str,
) -> None:
    """Names, sizes and batches that do not fit: found and wanted."""
    with pytest.raises(EdgeCompileError) as caught:
        read(images, takes(**shapes), tmp_path)
    assert what in str(caught.value)


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"image_processor_type": "SamImageProcessor"}, "images for 'SamImageProcessor' cannot be"),
        ({"image_processor_type": None}, "images for 'a class that it does not name' cannot be"),
        ({"size": {"height": 10**9, "width": 1}}, "key 'size' must lie between 1 and 4096"),
        ({"size": {"longest_edge": 8}}, "key 'size' must hold height and width, or shortest_edge"),
        ({"size": "8"}, "key 'size' must hold height and width"),
        ({"resample": 9}, "key 'resample' must lie between 0 and 5"),
        ({"image_std": [0, 1, 1]}, "key 'image_std' must hold a number for each channel"),
        ({"image_mean": ["x"]}, "key 'image_mean' must be a number"),
        ({"image_mean": [0.5, 0.5]}, "image_mean and image_std must hold 3 numbers each"),
        ({"do_resize": "yes"}, "key 'do_resize' must be true or false"),
    ],
)
def test_a_wrong_preprocessor_is_named(
    *,
    takes: Takes,
    read: Read,
    images: Path,
    tmp_path: Path,
    changes: dict[str, object],
    what: str,
) -> None:
    """preprocessor_config.json is no more trusted than the images: the key, and what it may be."""
    path = config(tmp_path, **changes)
    with pytest.raises(EdgeCompileError) as caught:
        read(images, takes(pixel_values=("b", 3, SIDE, SIDE)), tmp_path)
    assert str(caught.value).startswith(f"{path}: {what}")


def test_old_files_are_read_by_the_models_family(
    takes: Takes, read: Read, images: Path, tmp_path: Path
) -> None:
    """A preprocessor_config.json that names no class goes by config.json, as in transformers."""
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": SIDE}))
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "swin"}))
    assert len(read(images, takes(pixel_values=("b", 3, SIDE, SIDE)), tmp_path)) == 3


def test_a_missing_preprocessor_names_the_other_way(
    takes: Takes, read: Read, images: Path, tmp_path: Path
) -> None:
    """Without preprocessor_config.json: what to put where, or what else to give."""
    (tmp_path / "preprocessor_config.json").unlink()
    with pytest.raises(EdgeCompileError, match=r"no preprocessor_config\.json to read images with"):
        read(images, takes(pixel_values=("b", 3, SIDE, SIDE)), tmp_path)


def bomb(side: int) -> bytes:
    """Return a PNG that claims to be so wide and high."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(bytes(100))), (b"IEND", b"")]
    chunks = [
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in parts
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


@pytest.mark.parametrize(
    "data",
    [b"", b"not an image", b"%!PS-Adobe-3.0 EPSF-3.0\n", bomb(11_000), bomb(60_000), bomb(100)],
    ids=["empty", "text", "postscript", "large", "bomb", "cut off"],
)
def test_an_image_that_cannot_be_read_is_named(
    takes: Takes, read: Read, images: Path, tmp_path: Path, data: bytes
) -> None:
    """Other formats, bombs and cut-off files: the file and the reason, on one line."""
    path = images / "bad.png"
    path.write_bytes(data)
    with pytest.raises(EdgeCompileError) as caught:
        read(images, takes(pixel_values=("b", 3, SIDE, SIDE)), tmp_path)
    assert str(caught.value).startswith(f"{path}: not a readable image: ")
    assert "\n" not in str(caught.value)


def test_a_line_of_pixels_is_not_blown_up(
    takes: Takes, read: Read, images: Path, tmp_path: Path
) -> None:
    """To make its shorter edge 4096 long, an image of 1 x 60000 would take a gigabyte."""
    config(tmp_path, image_processor_type="CLIPImageProcessor", size={"shortest_edge": 4096})
    path = images / "thin.png"
    Image.new("RGB", (1, 60_000)).save(path)
    with pytest.raises(EdgeCompileError) as caught:
        read(images, takes(pixel_values=("b", 3, "h", "w")), tmp_path)
    assert str(caught.value) == f"{path}: too long and thin to resize: 1 x 60000 pixels"

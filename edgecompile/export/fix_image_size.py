"""The one size of image that a graph takes, found by trying, where its exporter left it open."""

import numpy as np
import onnx_ir as ir

from edgecompile.errors import DataError
from edgecompile.graph import dim
from edgecompile.session import run, session

MOST_PATCHES = 80
"""Sides that are tried: 2, 3, ... patches. ViT has 14 at 224 pixels, DINOv2 37 at 518.

A single patch would be broadcast over any table of positions.
"""


def fix_image_size(model: ir.Model) -> ir.Model:
    """Give a model's image input the only shape that its graph can take, in place.

        pixel_values [batch, channels, height, width] -> Conv (64, 3, 16, 16) -> Add (1, 197, 64)
        pixel_values [batch, 3, 224, 224]             -> the same

    Exporters leave all four axes open, though the convolution fixes the channels and the table of
    positions the number of patches. Where several sides run, or none, height and width stay open.
    """
    inputs = model.graph.inputs
    image = inputs[0] if len(inputs) == 1 else None
    if image is None or image.shape is None or len(image.shape) != 4:
        return model
    conv = next((node for node in image.consumers() if node.op_type == "Conv"), None)
    kernel = conv.inputs[1] if conv is not None else None
    if conv is None or kernel is None or kernel.shape is None or len(kernel.shape) != 4:
        return model
    batch, _, height, width = image.shape
    channels = dim(kernel, 1) * conv.attributes.get_int("group", 1)
    if not isinstance(height, int) and not isinstance(width, int):
        strides = conv.attributes.get_ints("strides", [1, 1])
        sides = _sides(model, (batch if isinstance(batch, int) else 1, channels), max(strides))
        if len(sides) == 1:
            height = width = sides[0]
    image.shape = ir.Shape((batch, channels, height, width))
    return model


def _sides(model: ir.Model, first: tuple[int, int], patch: int) -> list[int]:
    """Return the sides of a square image that the graph runs on; two are enough."""
    image = model.graph.inputs[0]
    dtype = image.dtype.numpy() if image.dtype is not None else np.dtype(np.float32)
    opened, found = session(model, optimise=False), []
    for side in range(2 * patch, MOST_PATCHES * patch + 1, patch):
        try:
            run(opened, None, {str(image.name): np.zeros((*first, side, side), dtype)}, 1)
        except DataError:
            continue
        found.append(side)
        if len(found) == 2:
            break
    return found

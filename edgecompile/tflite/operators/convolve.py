"""Conv, in one dimension or two: channels go last, as TFLite wants them, and back.

    x: [B, C, H, W]   ->   Transpose, Pad, CONV_2D with kernels [M, kh, kw, C / groups], Transpose

A signal [B, C, L] is an image one pixel high. Where every channel has filters of its own, it is
DEPTHWISE_CONV_2D, whose kernels are [1, kh, kw, M].
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from edgecompile.tflite.flatbuffer import schema
from edgecompile.tflite.operators.read_node import Writers, attribute, held, reshaped, vector
from edgecompile.tflite.subgraph import Subgraph, Tensor, unsupported


@dataclass(frozen=True, slots=True)
class Window:
    """How a kernel moves: numbers of the height and the width; `pads` are (before, after)."""

    strides: Sequence[int]
    dilations: Sequence[int]
    pads: Sequence[tuple[int, int]]
    groups: int


def convolution(graph: Subgraph, node: ir.Node) -> None:
    """Write y = Conv(x, w, b) of a constant w."""
    x, w = graph.of(node.inputs[0]), graph.of(node.inputs[1])
    if w.array is None or len(x.shape) not in (3, 4):
        raise unsupported(node, "only constant kernels in one or two dimensions are written")
    kernel = w.array.reshape(*w.shape[:2], *(1,) * (4 - w.array.ndim), *w.shape[2:])
    given = node.inputs[2] if len(node.inputs) > 2 else None
    zeros = np.zeros(kernel.shape[0], np.float32)
    bias = graph.constant(f"{node.name}.bias", zeros) if given is None else graph.of(given)
    image = _channels_last(graph, node, x)
    window = _window(node, len(x.shape) - 2, image.shape[1:3], kernel.shape[2:])
    image = _pad(graph, node, image, window)
    y = _convolve(graph, node, image, graph.constant(w.name, kernel), bias, window)
    _channels_first(graph, node, y, len(x.shape))


def _channels_last(graph: Subgraph, node: ir.Node, x: Tensor) -> Tensor:
    """Return [B, H, W, C] of [B, C, H, W] or, with H = 1, of [B, C, W]."""
    last = [0, *range(2, len(x.shape)), 1]
    image = graph.computed(f"{node.name}.image", [x.shape[axis] for axis in last], x.dtype)
    inputs = [x, vector(graph, node, "channels_last", last)]
    graph.write("TRANSPOSE", inputs, [image], "TransposeOptions")
    return image if len(x.shape) == 4 else reshaped(graph, image, (x.shape[0], 1, *image.shape[1:]))


def _channels_first(graph: Subgraph, node: ir.Node, y: Tensor, rank: int) -> None:
    """Write the node's output from [B, H, W, C]."""
    if rank == 3:
        y = reshaped(graph, y, (y.shape[0], *y.shape[2:]))
    first = [0, rank - 1, *range(1, rank - 1)]
    found = graph.output(node.outputs[0], [y.shape[axis] for axis in first], y.dtype)
    inputs = [y, vector(graph, node, "channels_first", first)]
    graph.write("TRANSPOSE", inputs, [found], "TransposeOptions")


def _window(node: ir.Node, axes: int, image: Sequence[int], kernel: Sequence[int]) -> Window:
    """Read a node's attributes of one or two axes; of a signal's height they are 1, or 0."""
    flat = 2 - axes
    strides, dilations = (
        [*[1] * flat, *attribute(node, key, [1] * axes)] for key in ("strides", "dilations")
    )
    pads = attribute(node, "pads", [0] * 2 * axes)
    ends = [*[(0, 0)] * flat, *zip(pads[:axes], pads[axes:], strict=True)]
    auto = attribute(node, "auto_pad", "NOTSET")
    if auto.startswith("SAME"):
        reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
        total = [
            max((-(-size // stride) - 1) * stride + width - size, 0)
            for size, stride, width in zip(image, strides, reach, strict=True)
        ]
        less = [(n // 2, n - n // 2) for n in total]
        ends = less if auto == "SAME_UPPER" else [(b, a) for a, b in less]
    return Window(strides, dilations, ends, attribute(node, "group", 1))


def _pad(graph: Subgraph, node: ir.Node, image: Tensor, window: Window) -> Tensor:
    if not any(map(any, window.pads)):
        return image
    ends = [(0, 0), *window.pads, (0, 0)]
    shape = [size + sum(pair) for size, pair in zip(image.shape, ends, strict=True)]
    padded = graph.computed(f"{node.name}.padded", shape, image.dtype)
    inputs = [image, graph.constant(f"{node.name}.pads", np.array(ends, np.int32))]
    graph.write("PAD", inputs, [padded], "PadOptions")
    return padded


def _convolve(  # noqa: PLR0917 - an image, its kernels, and how they move
    graph: Subgraph, node: ir.Node, image: Tensor, w: Tensor, bias: Tensor, window: Window
) -> Tensor:
    """Write the convolution itself, of [B, H, W, C] and ONNX's kernels [M, C / groups, kh, kw]."""
    kernel = held(w)
    size = [
        (size - step * (width - 1) - 1) // stride + 1
        for size, width, stride, step in zip(
            image.shape[1:3], kernel.shape[2:], window.strides, window.dilations, strict=True
        )
    ]
    if min(size) < 1:
        what = f"its window does not fit into {image.shape[1]} x {image.shape[2]}"
        raise unsupported(node, f"{what}: say larger [shapes] buckets, if they are of a signal")
    shape = (image.shape[0], *size, kernel.shape[0])
    y = graph.computed(f"{node.name}.channels_last", shape, image.dtype)
    values = dict(zip(("strideH", "strideW"), window.strides, strict=True))
    values |= zip(("dilationHFactor", "dilationWFactor"), window.dilations, strict=True)
    values |= {"padding": schema().Padding.VALID}
    if 1 < window.groups == image.shape[3]:
        w = graph.constant(w.name, np.ascontiguousarray(kernel.transpose(1, 2, 3, 0)))
        values |= {"depthMultiplier": kernel.shape[0] // window.groups}
        version = 2 if max(window.dilations) > 1 else 1
        options = "DepthwiseConv2DOptions"
        graph.write("DEPTHWISE_CONV_2D", [image, w, bias], [y], options, version, **values)
        return y
    w = graph.constant(w.name, np.ascontiguousarray(kernel.transpose(0, 2, 3, 1)))
    version = 6 if window.groups > 1 else 1
    graph.write("CONV_2D", [image, w, bias], [y], "Conv2DOptions", version, **values)
    return y


WRITERS: Writers = {("", "Conv"): convolution}

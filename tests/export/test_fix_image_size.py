"""Image inputs whose exporter named all four axes get the one shape that the graph takes."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgecompile.errors import ModelError
from edgecompile.export.fix_image_size import fix_image_size
from edgecompile.probe import take_probe
from edgecompile.session import session

CHANNELS, PATCH, SIDE, WIDTH = 3, 2, 8, 4
ROWS = (SIDE // PATCH) ** 2


def vision(tail: str, image: str = "batch, channels, height, width") -> ir.Model:
    """Return a graph that cuts images into patches, then does what `tail` says with [N, 16, 4]."""
    random = np.random.default_rng(0)
    proto = onnx.parser.parse_model(f"""
        <ir_version: 10, opset_import: ["" : 18]>
        vision (float[{image}] pixel_values) => (float[batch, rows, {WIDTH}] y) {{
            patches = Conv <kernel_shape = [{PATCH}, {PATCH}], strides = [{PATCH}, {PATCH}]>
                (pixel_values, kernel)
            flat = Reshape (patches, shape)
            rows = Transpose <perm = [0, 2, 1]> (flat)
            y = {tail}
        }}""")
    arrays = {
        "kernel": random.normal(size=(WIDTH, CHANNELS, PATCH, PATCH)).astype(np.float32),
        "positions": random.normal(size=(1, ROWS, WIDTH)).astype(np.float32),
        "shape": np.array([0, WIDTH, -1]),
    }
    proto.graph.initializer.extend(
        onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()
    )
    return ir.from_proto(proto)


POSITIONS = "Add (rows, positions)"


def shape_of(model: ir.Model) -> list[int | str | None]:
    """Return the image input's shape, names as text."""
    shape = model.graph.inputs[0].shape
    assert shape is not None
    return [d if isinstance(d, int) else d.value for d in shape]


def test_positions_fix_the_side_and_the_convolution_the_channels() -> None:
    """Only images of 8x8 have as many patches as the table has rows; the batch stays open."""
    model = fix_image_size(vision(POSITIONS))
    assert shape_of(model) == ["batch", CHANNELS, SIDE, SIDE]
    image = np.zeros((2, CHANNELS, SIDE, SIDE), np.float32)
    (y,) = session(model).run(None, {"pixel_values": image})
    assert y.shape == (2, ROWS, WIDTH)


def test_a_graph_for_any_size_keeps_its_size_open() -> None:
    """Without positions every side runs: one of them must not become the only one."""
    assert shape_of(fix_image_size(vision("Relu (rows)"))) == [
        "batch",
        CHANNELS,
        "height",
        "width",
    ]


@pytest.mark.parametrize("image", ["batch, 3, 8, 8", "1, channels, 8, width"])
def test_a_size_that_is_written_stays(image: str) -> None:
    """What the exporter fixed is not looked for; the channels are read from the convolution."""
    before = shape_of(vision(POSITIONS, image))
    after = shape_of(fix_image_size(vision(POSITIONS, image)))
    assert after == [before[0], CHANNELS, *before[2:]]


def test_a_fixed_graph_can_be_probed() -> None:
    """The canonicalise stage runs it on small inputs, which it could not before."""
    with pytest.raises(ModelError, match="does not run this graph"):
        take_probe(vision(POSITIONS))
    probe = take_probe(fix_image_size(vision(POSITIONS)))
    assert {feed["pixel_values"].shape[1:] for feed in probe.feeds} == {(CHANNELS, SIDE, SIDE)}


def test_other_inputs_are_left_alone() -> None:
    """A text model, or an image that no convolution reads first, comes back as it was."""
    proto = onnx.parser.parse_model("""
        <ir_version: 10, opset_import: ["" : 18]>
        other (float[batch, c, h, w] pixel_values) => (float[batch, c, h, w] y) {
            y = Relu (pixel_values)
        }""")
    assert shape_of(fix_image_size(ir.from_proto(proto))) == ["batch", "c", "h", "w"]

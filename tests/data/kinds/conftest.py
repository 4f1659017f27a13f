"""What the tests of the kinds of data share."""

from collections.abc import Callable, Sequence
from pathlib import Path

import onnx_ir as ir
import pytest

from edgecompile.data.feed import Feed
from edgecompile.data.source import open_source, request_of

Dims = Sequence[int | str | None]


@pytest.fixture
def takes() -> Callable[..., ir.Model]:
    """Return a factory of models: `takes(pixel_values=("batch", 3, 8, 8))`; all inputs float."""

    def make(dtype: ir.DataType = ir.DataType.FLOAT, **shapes: Dims) -> ir.Model:
        inputs = [ir.val(name, dtype, shape) for name, shape in shapes.items()]
        return ir.Model(ir.Graph(inputs, [], nodes=[], name="model"), ir_version=10)

    return make


@pytest.fixture
def read() -> Callable[..., list[Feed]]:
    """Return a function that reads all samples: `read(path, model, model_folder)`."""

    def run(path: Path, model: ir.Model, folder: Path) -> list[Feed]:
        source = open_source(path, request_of(model, folder, 512))
        return list(source.feeds(0, source.count(1000)))

    return run

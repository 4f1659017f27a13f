"""A graph on disk and back: weights beside it, mapped when they are read, not copied."""

from pathlib import Path

import onnx_ir as ir


def write_model(model: ir.Model, folder: Path, name: str) -> None:
    """Write NAME.onnx and NAME.data."""
    ir.save(model, folder / f"{name}.onnx", external_data=f"{name}.data")


def read_model(folder: Path, name: str) -> ir.Model:
    """Read it; the files are mapped at once, so that they may be removed meanwhile."""
    model = ir.load(folder / f"{name}.onnx")
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if isinstance(tensor, ir.ExternalTensor):
                value.const_value = ir.Tensor(
                    tensor.numpy(), dtype=tensor.dtype, shape=tensor.shape, name=tensor.name
                )
    return model

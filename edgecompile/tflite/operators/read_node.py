"""What a node of a lowered graph says: its attributes, its constant inputs."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.graph import Array
from edgecompile.tflite.subgraph import Subgraph, Tensor, unsupported

Writer = Callable[[Subgraph, ir.Node], None]
"""Writes the TFLite operators of a node."""
Writers = Mapping[tuple[str, str], Writer]
"""By the node's domain and operator."""


def attribute(node: ir.Node, name: str, default: Any) -> Any:
    """Return an attribute's value, or what it is by default."""
    found = node.attributes.get(name)
    return default if found is None else found.value


def numbers(graph: Subgraph, node: ir.Node, index: int) -> list[int] | None:
    """Return an input that must be a constant list of whole numbers; None where it is left out."""
    if index >= len(node.inputs) or node.inputs[index] is None:
        return None
    array = graph.of(node.inputs[index]).array
    if array is None:
        raise unsupported(node, f"LiteRT wants its input {index} constant")
    return [int(n) for n in array.reshape(-1)]


def vector(graph: Subgraph, node: ir.Node, name: str, values: Sequence[int]) -> Tensor:
    """Return a constant int32 vector."""
    return graph.constant(f"{node.name}.{name}", np.array(values, np.int32))


def reshaped(graph: Subgraph, x: Tensor, shape: Sequence[int]) -> Tensor:
    """Write x in another shape, and return it."""
    y = graph.computed(f"{x.name}.reshaped", shape, x.dtype, x.rounding)
    size = graph.constant(f"{x.name}.shape", np.array(shape, np.int32))
    graph.write("RESHAPE", [x, size], [y], "ReshapeOptions", newShape=list(shape))
    return y


def array_of(graph: Subgraph, value: ir.Value | None) -> Array:
    """Return the array of an input that must be constant."""
    return held(graph.of(value))


def held(tensor: Tensor) -> Array:
    """Return a constant's array."""
    if tensor.array is None:
        msg = f"'{tensor.name}' is no constant"
        raise ValueError(msg)
    return tensor.array

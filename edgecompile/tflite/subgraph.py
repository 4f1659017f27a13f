"""One graph of a TFLite file in the making: its tensors, each with its fixed shape, and operators.

An operator's shapes are worked out as it is written. What depends on shapes alone is a constant,
computed here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.errors import UnsupportedError
from edgecompile.graph import Array, present
from edgecompile.integer_format import format_of
from edgecompile.tflite.flatbuffer import File, Rounding, schema, tensor_table

NARROW = {"int64": np.dtype(np.int32), "float64": np.dtype(np.float32)}
"""Types that few kernels take, and what is written instead: ids and positions fit 31 bits."""
Shape = tuple[int, ...]
ROUNDED = {
    "ADD": (2, 4), "BATCH_MATMUL": (2, 3), "GELU": (1, 1), "LOGISTIC": (2, 3), "MEAN": (2, 2),
    "MUL": (2, 5), "RELU": (2, 3), "RSQRT": (2, 3), "SOFTMAX": (2, 3), "SUB": (2, 5),
    "TANH": (2, 3), "TRANSPOSE": (2, 4),
}  # fmt: skip
"""The oldest version of an operator that computes in int8, and in int16."""
WIDTHS = ("int8", "int16")
SHIFTED = 4
"""Versions of ADD and SUB in 16 bits from which scales need be no powers of two."""


@dataclass(slots=True)
class Tensor:
    """A tensor: `array` where it is a constant, `number` once the file holds it."""

    name: str
    shape: Shape
    dtype: np.dtype[Any]
    array: Array | None = None
    rounding: Rounding | None = None
    number: int | None = None


@dataclass(slots=True)
class Subgraph:
    """Writes one graph into a file."""

    file: File
    name: str
    known: dict[ir.Value, Tensor] = field(default_factory=dict)
    table: Any = field(default_factory=lambda: schema().SubGraphT())

    def __post_init__(self) -> None:
        """Begin empty."""
        self.table.name = self.name.encode()
        self.table.tensors, self.table.operators = [], []

    # ------------------------------------------------------------------ tensors

    def of(self, value: ir.Value | None) -> Tensor:
        """Return the tensor of a value: a constant, or computed before."""
        value = present(value)
        if value not in self.known:
            array = None if value.const_value is None else value.const_value.numpy()
            if array is None:
                msg = f"'{value.name}' is read before it is computed"
                raise ValueError(msg)
            rounding = self._rounding_of(value)
            self.known[value] = self.constant(str(value.name), array, rounding)
        return self.known[value]

    def constant(self, name: str, array: Array, rounding: Rounding | None = None) -> Tensor:
        """Return a constant; it is stored when an operator reads it."""
        array = narrow(np.asarray(array))
        return Tensor(name, array.shape, array.dtype, array, rounding)

    def computed(
        self,
        name: str,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        rounding: Rounding | None = None,
    ) -> Tensor:
        """Return a tensor that an operator or the caller gives."""
        tensor = Tensor(name, tuple(shape), NARROW.get(dtype.name, dtype), None, rounding)
        self.place(tensor)
        return tensor

    def place(self, tensor: Tensor) -> int:
        """Return a tensor's number in the file, which holds it from now on."""
        if tensor.number is None:
            buffer = 0 if tensor.array is None else self.file.buffer(tensor.array)
            table = tensor_table(tensor.name, tensor.shape, tensor.dtype, buffer, tensor.rounding)
            self.table.tensors.append(table)
            tensor.number = len(self.table.tensors) - 1
        return tensor.number

    # ------------------------------------------------------------------ operators

    def write(
        self,
        builtin: str,
        inputs: Sequence[Tensor | None],
        outputs: Sequence[Tensor],
        options: str = "",
        version: int = 1,
        **values: Any,
    ) -> None:
        """Append an operator; `options` is the schema's table of its attributes, `values` them."""
        of_integers = _version_of(builtin, inputs, outputs[0])
        version = max(version, of_integers)
        if not self.file.knows(builtin, version):
            what = f"'{outputs[0].name}': this runtime has no {builtin} of version {version}"
            msg = f"{what}; choose a target with litert"
            raise UnsupportedError(msg)
        table = schema().OperatorT()
        table.opcodeIndex = self.file.code(builtin, version)
        table.inputs = [-1 if tensor is None else self.place(tensor) for tensor in inputs]
        table.outputs = [self.place(tensor) for tensor in outputs]
        if options:
            table.builtinOptionsType = getattr(schema().BuiltinOptions, options)
            table.builtinOptions = getattr(schema(), f"{options}T")()
            if of_integers >= SHIFTED and builtin in ("ADD", "SUB"):
                values |= {"potScaleInt16": False}
            for key, value in values.items():
                setattr(table.builtinOptions, key, value)
        self.table.operators.append(table)

    def output(
        self,
        value: ir.Value,
        shape: Sequence[int],
        dtype: np.dtype[Any],
        rounding: Rounding | None = None,
    ) -> Tensor:
        """Return the tensor that a node's output becomes: in its integers, if a note says which."""
        form = format_of(value)
        if form is not None:
            dtype, rounding = np.dtype(form.dtype), self._rounding_of(value)
        self.known[value] = self.computed(str(value.name), shape, dtype, rounding)
        return self.known[value]

    def _rounding_of(self, value: ir.Value) -> Rounding | None:
        form = format_of(value)
        return None if form is None else self.file.rounding(np.array(form.scale), form.zero)

    # ------------------------------------------------------------------ ends

    def close(
        self,
        inputs: Mapping[str, Tensor],
        outputs: Mapping[str, Tensor],
        open_axes: Mapping[str, Shape],
    ) -> int:
        """Put the graph into the file; return its number there.

        `open_axes` are, by name, the shapes in which -1 stands for the length of the text.
        """
        self.table.inputs = [self.place(tensor) for tensor in inputs.values()]
        self.table.outputs = [self.place(tensor) for tensor in outputs.values()]
        for name, tensor in (*inputs.items(), *outputs.items()):
            if name in open_axes:
                self.table.tensors[self.place(tensor)].shapeSignature = list(open_axes[name])
        self.file.model.subgraphs.append(self.table)
        return len(self.file.model.subgraphs) - 1


def _version_of(builtin: str, inputs: Sequence[Tensor | None], output: Tensor) -> int:
    """Return the oldest version of an operator of integers with scales; 1 of any other."""
    rounded = any(tensor is not None and tensor.rounding is not None for tensor in inputs)
    if not rounded or output.rounding is None or builtin not in ROUNDED:
        return 1
    return ROUNDED[builtin][WIDTHS.index(output.dtype.name)]


def narrow(array: Array) -> Array:
    """Return an array in a type that LiteRT's kernels take."""
    if array.dtype.name == "int64":
        limits = np.iinfo(np.int32)  # "to the end" is often the largest int64
        return np.clip(array, limits.min, limits.max).astype(np.int32)
    return array.astype(NARROW.get(array.dtype.name, array.dtype))


def unsupported(node: ir.Node, what: str) -> UnsupportedError:
    """Return the error of a node that LiteRT has no form for."""
    name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
    return UnsupportedError(
        f"node '{node.name}' ({name}): {what}; choose another engine for this model"
    )

"""A TFLite file in the making: buffers, operator codes, graphs and their signatures.

Tables and enumerations are those of the schema that comes with LiteRT. Graphs share buffers: the
same bytes are stored once.
"""

import hashlib
import importlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import numpy as np

from edgecompile.errors import MissingRuntimeError, UnsupportedError
from edgecompile.graph import Array

VERSION = 3
"""Of the schema: the only one that any runtime reads."""
IDENTIFIER = b"TFL3"
ALIGNMENT = 16
"""Bytes: the schema's `force_align` for buffers, which Python's writer leaves out."""
TYPES = {
    "float32": "FLOAT32", "float16": "FLOAT16", "int8": "INT8", "uint8": "UINT8", "int16": "INT16",
    "int32": "INT32", "int64": "INT64", "bool": "BOOL",
}  # fmt: skip
"""The schema's names of numpy's types."""


@cache
def schema() -> Any:
    """Return the schema's module, which comes with the runtime."""
    try:
        return importlib.import_module("ai_edge_litert.schema_py_generated")
    except ImportError as error:
        raise MissingRuntimeError("litert") from error  # noqa: EM101 - a name, no message


@dataclass(frozen=True, slots=True)
class Rounding:
    """How an int8 tensor's numbers are meant: the schema's table, which tensors may share."""

    table: Any


@dataclass(frozen=True, slots=True)
class Signature:
    """One way to call the file: a key, and the tensors of a graph by public name."""

    key: str
    graph: int
    inputs: Mapping[str, int]
    outputs: Mapping[str, int]


@dataclass(slots=True)
class File:
    """Collects what is written, at most `largest_bytes`; `data` gives the bytes.

    `newest` are the operators that the runtime has, with the newest version of each; None: all.
    """

    largest_bytes: int
    newest: Mapping[str, int] | None = None
    model: Any = field(default_factory=lambda: schema().ModelT())
    stored: dict[bytes, int] = field(default_factory=dict)
    codes: dict[tuple[str, int], int] = field(default_factory=dict)
    roundings: dict[bytes, Rounding] = field(default_factory=dict)
    size: int = 0

    def __post_init__(self) -> None:
        """Begin with the empty buffer 0, which means: computed."""
        self.model.version = VERSION
        self.model.buffers = [schema().BufferT()]
        self.model.operatorCodes, self.model.subgraphs = [], []
        self.model.signatureDefs, self.model.metadata = [], []

    def buffer(self, data: Array) -> int:
        """Store bytes, once; return the buffer's number."""
        raw = np.ascontiguousarray(data).tobytes()
        key = hashlib.blake2b(raw, digest_size=16).digest()
        if key not in self.stored:
            self.size += len(raw)
            if self.size > self.largest_bytes:
                msg = (
                    f"a .tflite file holds at most {self.largest_bytes / 1e9:g} GB, this one more;"
                    " choose another engine, or prune the model"
                )
                raise UnsupportedError(msg)
            table = _written_buffer()()
            table.data = raw
            self.model.buffers.append(table)
            self.stored[key] = len(self.model.buffers) - 1
        return self.stored[key]

    def rounding(self, scale: Array, zero: int = 0, axis: int = 0) -> Rounding:
        """Return the table of a scale [1], or [channels of an axis], and a zero point."""
        scale = np.atleast_1d(scale).astype(np.float32)
        key = scale.tobytes() + zero.to_bytes(2, "little", signed=True) + bytes([axis])
        if key not in self.roundings:
            table = _written_rounding()()
            table.scale = scale
            table.zeroPoint = np.full(len(scale), zero, np.int64)
            table.quantizedDimension = axis
            self.roundings[key] = Rounding(table)
        return self.roundings[key]

    def code(self, builtin: str, version: int) -> int:
        """Return the number of an operator in a version."""
        if (builtin, version) not in self.codes:
            table = schema().OperatorCodeT()
            table.builtinCode = getattr(schema().BuiltinOperator, builtin)
            table.deprecatedBuiltinCode = min(table.builtinCode, 127)
            table.version = version
            self.model.operatorCodes.append(table)
            self.codes[builtin, version] = len(self.codes)
        return self.codes[builtin, version]

    def knows(self, builtin: str, version: int) -> bool:
        """Say whether the runtime has an operator in a version."""
        return self.newest is None or version <= self.newest.get(builtin, 0)

    def add_signature(self, signature: Signature) -> None:
        """Declare a way to call the file."""
        table = schema().SignatureDefT()
        table.signatureKey, table.subgraphIndex = signature.key.encode(), signature.graph
        table.inputs, table.outputs = (
            [_named(name, index) for name, index in tensors.items()]
            for tensors in (signature.inputs, signature.outputs)
        )
        self.model.signatureDefs.append(table)

    def add_metadata(self, name: str, data: bytes) -> None:
        """Keep bytes under a name."""
        table = schema().MetadataT()
        table.name = name.encode()
        table.buffer = self.buffer(np.frombuffer(data, np.uint8))
        self.model.metadata.append(table)

    def data(self, description: str) -> bytes:
        """Return the file's bytes: the same for the same calls."""
        import flatbuffers

        self.model.description = description.encode()
        builder = flatbuffers.Builder(self.size + (1 << 20))
        builder.Finish(self.model.Pack(builder), IDENTIFIER)
        return bytes(builder.Output())


def _named(name: str, tensor: int) -> Any:
    table = schema().TensorMapT()
    table.name, table.tensorIndex = name.encode(), tensor
    return table


@cache
def _written_buffer() -> Any:
    """Return the schema's BufferT with its data aligned."""
    s = schema()

    class AlignedBuffer(s.BufferT):  # type: ignore[misc, name-defined]
        def Pack(self, builder: Any) -> int:  # noqa: N802 - the schema's name
            raw = self.data
            builder.StartVector(1, len(raw), ALIGNMENT)
            builder.head -= len(raw)
            builder.Bytes[builder.head : builder.head + len(raw)] = raw
            data = builder.EndVector()
            s.BufferStart(builder)
            s.BufferAddData(builder, data)
            return int(s.BufferEnd(builder))

    return AlignedBuffer


@cache
def _written_rounding() -> Any:
    """Return the schema's QuantizationParametersT, written once a file and `Rounding`."""
    s = schema()

    class SharedRounding(s.QuantizationParametersT):  # type: ignore[misc, name-defined]
        builder: Any = None
        offset = 0

        def Pack(self, builder: Any) -> int:  # noqa: N802 - the schema's name
            if self.builder is not builder:
                self.builder, self.offset = builder, super().Pack(builder)
            return int(self.offset)

    return SharedRounding


def tensor_table(
    name: str,
    shape: Sequence[int],
    dtype: np.dtype[Any],
    buffer: int,
    rounding: Rounding | None,
) -> Any:
    """Return the schema's Tensor."""
    table = schema().TensorT()
    table.name, table.shape, table.buffer = name.encode(), list(map(int, shape)), buffer
    table.type = getattr(schema().TensorType, TYPES[dtype.name])
    if rounding is not None:
        table.quantization = rounding.table
    return table

"""A Core ML package read back from disk and executed with numpy: in the toolchain's own Python.

Request: {"package", "feeds": FILE or ""}; answer: what the package holds. With feeds, an .npz of
NUMBER/NAME, answers.npz is written likewise. coremltools gives the spec's schema and nothing else:
weights are read by offset, operators computed here. Sums are made in float32, and what an
operator gives is rounded to the type that the program states, as Apple's CPU and GPU do.
"""

import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from coremltools import proto

ANSWERS, TEXT_AXES = "answers.npz", "edgecompile.text_axes"
AUTHOR, PREFIX = "com.apple.CoreML", "@model_path/"
SENTINEL = 0xDEADBEEF
"""What begins a blob's 64 bytes of metadata: then its type, its bytes and where they start."""
TYPES = {
    "BOOL": np.bool_, "FLOAT16": np.float16, "FLOAT32": np.float32, "INT32": np.int32,
    "INT8": np.int8, "UINT8": np.uint8,
}  # fmt: skip
CASTS = {"fp16": np.float16, "fp32": np.float32, "int32": np.int32, "bool": np.bool_}
Values = dict[str, Any]


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Describe a package, and run it."""
    package = Package(Path(request["package"]))
    if request["feeds"]:
        np.savez(ANSWERS, **package.answer(request["feeds"]))
    return package.describe()


class Package:
    """A package's spec, and its program's constants as arrays."""

    def __init__(self, folder: Path) -> None:
        """Read all; ValueError for what Core ML would not load."""
        manifest = json.loads((folder / "Manifest.json").read_text(encoding="utf-8"))
        root = manifest["itemInfoEntries"][manifest["rootModelIdentifier"]]["path"]
        self.home = folder / "Data" / AUTHOR
        self.spec = proto.Model_pb2.Model()
        self.spec.ParseFromString((folder / "Data" / root).read_bytes())
        main = self.spec.mlProgram.functions["main"]
        self.block = main.block_specializations[main.opset]
        self.bytes: dict[str, int] = {}
        self.stored: dict[str, list[Any]] = {}
        self.constants: Values = {}
        self.operations = []
        for operation in self.block.operations:
            if operation.type == "const" or operation.type.startswith("constexpr_"):
                self._keep(operation)
            else:
                self.operations.append(operation)

    def _keep(self, operation: Any) -> None:
        name = operation.outputs[0].name
        given = {key: self._value(value) for key, value in operation.attributes.items()}
        if operation.type == "const":
            self.constants[name] = _wide(given["val"])
        elif operation.type == "constexpr_affine_dequantize":
            q, scale, axis = given["quantized_data"], given["scale"], int(given["axis"])
            shape = [-1 if n == axis % q.ndim else 1 for n in range(q.ndim)]
            scales, zeros = (
                a.reshape(shape if a.ndim else ()) for a in (scale, given["zero_point"])
            )
            real = (q.astype(np.float32) - zeros) * scales
            self.constants[name] = _wide(real.astype(scale.dtype))
            self.stored[name] = [list(q.shape), q.dtype.name]
        else:
            msg = f"'{name}' ({operation.type}) is not what was written"
            raise ValueError(msg)

    def _value(self, value: Any) -> Any:
        """Return a constant: an array, a number, a text."""
        kind = proto.MIL_pb2.DataType.Name(value.type.tensorType.dataType)
        shape = [d.constant.size for d in value.type.tensorType.dimensions]
        if value.WhichOneof("value") == "blobFileValue":
            array = self._blob(value.blobFileValue, TYPES[kind], int(np.prod(shape)))
        else:
            tensor = value.immediateValue.tensor
            found = getattr(tensor, str(tensor.WhichOneof("value"))).values
            if kind == "STRING":
                return str(found[0])
            whole = isinstance(found, bytes)
            array = np.frombuffer(found, TYPES[kind]) if whole else np.array(found, TYPES[kind])
        key = array.dtype.name
        self.bytes[key] = self.bytes.get(key, 0) + array.nbytes
        return array.reshape(shape)

    def _blob(self, place: Any, kind: Any, count: int) -> Any:
        raw = np.memmap(self.home / place.fileName.removeprefix(PREFIX), np.uint8, "r")
        head = raw[place.offset : place.offset + 24].tobytes()
        sentinel, _, size, start = struct.unpack("<IIQQ", head)
        if sentinel != SENTINEL or size != count * np.dtype(kind).itemsize:
            msg = f"{place.fileName}: no blob of {count} numbers at {place.offset}"
            raise ValueError(msg)
        return np.frombuffer(raw[start : start + size].tobytes(), kind)

    def describe(self) -> dict[str, Any]:
        """Return what it holds, as plain data."""
        counts: dict[str, int] = {}
        for operation in self.block.operations:
            if operation.type != "const":
                counts[operation.type] = counts.get(operation.type, 0) + 1
        about = self.spec.description
        return {
            "version": self.spec.specificationVersion,
            "operators": dict(sorted(counts.items())),
            "bytes": self.bytes,
            "rounded": self.stored,
            "linears": [self._linear(o) for o in self.operations if o.type == "linear"],
            "inputs": [_feature(value) for value in about.input],
            "outputs": [_feature(value) for value in about.output],
            "metadata": dict(about.metadata.userDefined),
        }

    def _linear(self, operation: Any) -> dict[str, Any]:
        weight = operation.inputs["weight"].arguments[0].name
        shape = [int(n) for n in self.constants[weight].shape[::-1]]
        return {"name": weight, "shape": shape, "rounded": weight in self.stored}

    def answer(self, feeds: str) -> Values:
        """Return what each feed gives, texts padded to the program's length and cut again."""
        axes = json.loads(self.spec.description.metadata.userDefined[TEXT_AXES] or "{}")
        rows: dict[str, Values] = {}
        with np.load(feeds, allow_pickle=False) as found:
            for key in found.files:
                number, name = key.split("/", 1)
                rows.setdefault(number, {})[name] = found[key]
        answers = {}
        for number, feed in rows.items():
            length = max([0, *(a.shape[1] for a in feed.values() if a.ndim == 2)])
            made = self.run({v.name: _pad(v, feed[v.name]) for v in self.spec.description.input})
            for name, array in made.items():
                cut = np.take(array, np.arange(length), axes[name]) if name in axes else array
                answers[f"{number}/{name}"] = cut
        return answers

    def run(self, feed: Values) -> Values:
        """Run the program once; ValueError where a shape is not the one that it states."""
        values = self.constants | feed
        for operation in self.operations:
            if operation.type not in OPERATORS:
                msg = f"'{operation.outputs[0].name}' ({operation.type}) is not what was written"
                raise ValueError(msg)
            given = {key: _bound(values, bound) for key, bound in operation.inputs.items()}
            made = OPERATORS[operation.type](given)
            (out,) = operation.outputs
            stated = out.type.tensorType
            kind = proto.MIL_pb2.DataType.Name(stated.dataType)
            shape = tuple(d.constant.size for d in stated.dimensions)
            if made.shape != shape:
                msg = f"'{out.name}' ({operation.type}) gives {made.shape}, its type says {shape}"
                raise ValueError(msg)
            values[out.name] = made.astype(TYPES[kind])
        return {name: values[name] for name in self.block.outputs}


def _bound(values: Values, bound: Any) -> Any:
    found = [_wide(values[argument.name]) for argument in bound.arguments]
    return found[0] if len(found) == 1 else found


def _wide(value: Any) -> Any:
    """Return float16 as the same numbers in float32."""
    return value.astype(np.float32) if getattr(value, "dtype", None) == np.float16 else value


def _feature(value: Any) -> dict[str, Any]:
    array = value.type.multiArrayType
    kind = proto.FeatureTypes_pb2.ArrayFeatureType.ArrayDataType.Name(array.dataType)
    return {"name": value.name, "type": kind.lower(), "shape": list(array.shape)}


def _pad(value: Any, array: Any) -> Any:
    shape, kind = _feature(value)["shape"], _feature(value)["type"]
    behind = [(0, whole - part) for whole, part in zip(shape, array.shape, strict=True)]
    return np.pad(array, behind).astype(np.int32 if kind == "int32" else np.float32)


def _erf(x: Any) -> Any:
    """Return erf to 1.5e-7 (Abramowitz and Stegun 1964, 7.1.26): float16 holds 5e-4."""
    t = 1 / (1 + 0.3275911 * np.abs(x))
    sums = 0.0
    for factor in (1.061405429, -1.453152027, 1.421413741, -0.284496736, 0.254829592):
        sums = (sums + factor) * t
    return np.sign(x) * (1 - sums * np.exp(-x * x))


def _gelu(given: Values) -> Any:
    x = given["x"]
    if given["mode"] == "EXACT":
        return 0.5 * x * (1 + _erf(x / np.float32(np.sqrt(2))))
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _softmax(given: Values) -> Any:
    axis = int(given["axis"])
    grown = np.exp(given["x"] - given["x"].max(axis=axis, keepdims=True))
    return grown / grown.sum(axis=axis, keepdims=True)


def _layer_norm(given: Values) -> Any:
    x, axes = given["x"], tuple(int(n) for n in given["axes"])
    centred = x - x.mean(axis=axes, keepdims=True)
    spread = np.sqrt((centred**2).mean(axis=axes, keepdims=True) + given["epsilon"])
    return centred / spread * given["gamma"] + given.get("beta", 0)


def _matmul(given: Values) -> Any:
    x, y = given["x"], given["y"]
    x = x.swapaxes(-1, -2) if given.get("transpose_x") else x
    return x @ (y.swapaxes(-1, -2) if given.get("transpose_y") else y)


def _slice(given: Values) -> Any:
    parts = zip(given["begin"], given["end"], given["stride"], strict=True)
    return given["x"][tuple(slice(int(a), int(b), int(c)) for a, b, c in parts)]


def _conv(given: Values) -> Any:
    x, w = given["x"], given["weight"]
    axes = range(x.ndim - 2)
    pads = [(int(given["pad"][2 * n]), int(given["pad"][2 * n + 1])) for n in axes]
    x = np.pad(x, [(0, 0), (0, 0), *pads])
    span = [int(given["dilations"][n]) * (w.shape[2 + n] - 1) + 1 for n in axes]
    seen = np.lib.stride_tricks.sliding_window_view(x, span, axis=tuple(range(2, x.ndim)))
    steps = [slice(None, None, int(given["strides"][n])) for n in axes]
    holes = [slice(None, None, int(given["dilations"][n])) for n in axes]
    seen = seen[(slice(None), slice(None), *steps, *holes)]
    groups, letters = int(given["groups"]), "xyz"[: len(axes)]
    parts = zip(np.split(seen, groups, axis=1), np.split(w, groups), strict=True)
    inner = letters.upper()
    made = [np.einsum(f"nc{letters}{inner},oc{inner}->no{letters}", a, b) for a, b in parts]
    bias = given.get("bias", np.zeros(len(w), np.float32))
    return np.concatenate(made, axis=1) + bias.reshape(1, -1, *[1] * len(axes))


def _two(function: Callable[[Any, Any], Any]) -> Callable[[Values], Any]:
    return lambda given: function(given["x"], given["y"])


def _one(function: Callable[[Any], Any]) -> Callable[[Values], Any]:
    return lambda given: function(given["x"])


def _reduce(function: Callable[..., Any]) -> Callable[[Values], Any]:
    def run(given: Values) -> Any:
        axes = tuple(int(n) for n in np.ravel(given["axes"])) if "axes" in given else None
        return function(given["x"], axis=axes, keepdims=bool(given["keep_dims"]))

    return run


def _cumsum(given: Values) -> Any:
    axis, x = int(given["axis"]), given["x"]
    turned = np.flip(x, axis) if given["reverse"] else x
    sums = np.cumsum(turned, axis=axis) - (turned if given["exclusive"] else 0)
    return np.flip(sums, axis) if given["reverse"] else sums


def _length(x: Any, **over: Any) -> Any:
    return np.sqrt((x * x).sum(**over))


OPERATORS: dict[str, Callable[[Values], Any]] = {
    "add": _two(np.add), "sub": _two(np.subtract), "mul": _two(np.multiply),
    "real_div": _two(np.divide), "pow": _two(np.power), "maximum": _two(np.maximum),
    "minimum": _two(np.minimum), "equal": _two(np.equal), "less": _two(np.less),
    "greater": _two(np.greater), "logical_and": _two(np.logical_and),
    "logical_or": _two(np.logical_or), "logical_not": _one(np.logical_not),
    "sqrt": _one(np.sqrt), "tanh": _one(np.tanh), "erf": _one(_erf), "exp": _one(np.exp),
    "abs": _one(np.abs), "identity": _one(np.asarray), "relu": _one(lambda x: np.maximum(x, 0)),
    "sigmoid": _one(lambda x: 1 / (1 + np.exp(-x))),
    "reduce_sum": _reduce(np.sum), "reduce_mean": _reduce(np.mean),
    "reduce_max": _reduce(np.max), "reduce_l2_norm": _reduce(_length),
    "cast": lambda g: g["x"].astype(CASTS[g["dtype"]]),
    "concat": lambda g: np.concatenate(g["values"], axis=int(g["axis"])),
    "conv": _conv, "cumsum": _cumsum, "gelu": _gelu, "layer_norm": _layer_norm, "matmul": _matmul,
    "gather": lambda g: np.take(g["x"], g["indices"].astype(np.int64), axis=int(g["axis"])),
    "linear": lambda g: g["x"] @ g["weight"].T + g.get("bias", 0),
    "reshape": lambda g: g["x"].reshape([int(n) for n in g["shape"]]),
    "select": lambda g: np.where(g["cond"], g["a"], g["b"]),
    "slice_by_index": _slice, "softmax": _softmax,
    "tile": lambda g: np.tile(g["x"], [int(n) for n in g["reps"]]),
    "transpose": lambda g: g["x"].transpose([int(n) for n in g["perm"]]),
}  # fmt: skip
"""What each operator computes (coremltools' documentation of MIL)."""

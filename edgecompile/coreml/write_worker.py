"""A graph of graph_file.py -> a Core ML package: runs in the toolchain's own Python.

Request: {"package", "minimum" (a deployment target), "metadata"}; answer: {"operators": counts}.
Every number is float16 but ids, masks and outputs; the builder's own passes are left out, so the
package holds the operators of this file's table and no others. What it would date or number at
random, the contents name.
"""

import hashlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools import proto
from coremltools.converters.mil import Builder as mb  # noqa: N813 - as its documentation does
from coremltools.converters.mil.mil import Function, Program, types

GRAPH, ARRAYS = "graph.json", "arrays.npz"
NO_FORM = "has no Core ML form"
AUTHOR, SPEC = "com.apple.CoreML", "model.mlmodel"
TINY, LARGE = np.finfo(np.float16).tiny, np.finfo(np.float16).max
TYPES = {"FLOAT": "fp16", "FLOAT16": "fp16", "INT64": "int32", "INT32": "int32", "BOOL": "bool"}
ONNX_TYPES = {1: "fp16", 10: "fp16", 6: "int32", 7: "int32", 9: "bool"}
"""What Cast's attribute `to` means here."""


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Build, save, make the same bytes of the same graph."""
    graph = json.loads(Path(GRAPH).read_text(encoding="utf-8"))
    with np.load(ARRAYS, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    target = getattr(ct.target, request["minimum"])
    program, operators = _program(graph, arrays, target)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT32,  # float16 is stated, tensor by tensor
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    package = Path(request["package"])
    model.save(str(package))
    _label(package, request["metadata"])
    return {"operators": operators}


def _program(graph: Any, arrays: Any, target: Any) -> tuple[Any, dict[str, int]]:
    inputs = {
        value["name"]: mb.placeholder(
            shape=value["shape"], dtype=types.fp32 if value["type"] == "FLOAT" else types.int32
        )
        for value in graph["inputs"]
    }
    with Function(inputs, opset_version=target) as function:
        writer = Writer(graph, arrays, dict(function.inputs))
        outputs = [writer.output(value) for value in graph["outputs"]]
        function.set_outputs(outputs)
    program = Program()
    program.add_function("main", function)
    counts: dict[str, int] = {}
    for operation in function.operations:
        if operation.op_type != "const":
            counts[operation.op_type] = counts.get(operation.op_type, 0) + 1
    return program, dict(sorted(counts.items()))


class Writer:
    """The function that is written: each tensor's variable by its name."""

    def __init__(self, graph: Any, arrays: Any, inputs: dict[str, Any]) -> None:
        """Write all nodes in their order."""
        self.arrays, self.values = arrays, {}
        self.rounded: dict[str, tuple[Any, Any, int]] = {}
        self.users: dict[str, list[Any]] = {}
        self.done: set[str] = set()
        for name, value in inputs.items():
            half = value.dtype == types.fp32
            self.values[name] = (
                mb.cast(x=value, dtype="fp16", name=f"{name}_fp16") if half else value
            )
        for node in graph["nodes"]:
            for name in node["inputs"]:
                self.users.setdefault(name, []).append(node)
        self.ends = {value["name"] for value in graph["outputs"]}
        for node in graph["nodes"]:
            if node["name"] not in self.done:
                self._write(node)

    def _write(self, node: Any) -> None:
        if node["op"] not in FORMS:
            msg = f"node '{node['name']}' ({node['op']}) {NO_FORM}"
            raise NotImplementedError(msg)
        name = node["outputs"][0]["name"]
        made = FORMS[node["op"]](self, node, self.named(name))
        if made is not None:
            self.values.setdefault(name, made)

    def named(self, name: str) -> str:
        """Return what a tensor is called in the program; an output's own name is the result's."""
        return f"{_safe(name)}_fp16" if name in self.ends else _safe(name)

    def output(self, value: Any) -> Any:
        """Return a graph output as float32 under its own name."""
        given, name = self.values[value["name"]], _safe(value["name"])
        if given.dtype == types.fp16:
            return mb.cast(x=given, dtype="fp32", name=name)
        return mb.identity(x=given, name=name)

    def read(self, name: str) -> Any:
        """Return a tensor: what was computed, or a constant as float16, int32 or bool."""
        if name in self.values:
            return self.values[name]
        if name in self.rounded:
            return self.weight(name, transposed=False)
        return _constant(self.arrays[name])

    def weight(self, name: str, *, transposed: bool) -> Any:
        """Return a rounded weight as it is, or [out, in]; it is stored once for each form."""
        q, scale, axis = self.rounded[name]
        key = f"{name}.rows" if transposed else name
        if key not in self.values:
            self.values[key] = mb.constexpr_affine_dequantize(
                quantized_data=np.ascontiguousarray(q.T if transposed else q),
                zero_point=np.int8(0),
                scale=scale.astype(np.float16),
                axis=np.int32(1 - axis if transposed else axis),
                name=_safe(key),
            )
        return self.values[key]

    def numbers(self, node: Any, place: int) -> list[int] | None:
        """Return a constant input's integers, None where it is left out."""
        if len(node["inputs"]) <= place or not node["inputs"][place]:
            return None
        if node["inputs"][place] not in self.arrays:
            msg = f"node '{node['name']}' ({node['op']}) with computed sizes {NO_FORM}"
            raise NotImplementedError(msg)
        return [int(n) for n in self.arrays[node["inputs"][place]].reshape(-1)]

    def bias_of(self, node: Any) -> Any:
        """Return the Add that alone reads a product, if it adds a vector, and the vector."""
        (name,) = (value["name"] for value in node["outputs"])
        users = self.users.get(name, [])
        if name in self.ends or len(users) != 1 or users[0]["op"] != "Add":
            return None
        (other,) = [given for given in users[0]["inputs"] if given != name] or [""]
        array = self.arrays.get(other)
        return (users[0], array) if array is not None and array.ndim == 1 else None


def _safe(name: str) -> str:
    """Return a name as MIL takes it: letters, digits, underscores."""
    text = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
    return text if text[:1].isalpha() or text[:1] == "_" else f"_{text}"


def _constant(array: Any) -> Any:
    if array.dtype.kind == "f":
        half = np.clip(array, -LARGE, LARGE).astype(np.float16)
        if array.size == 1 and array.item() and not abs(half.item()) >= TINY:
            half = np.sign(array).astype(np.float16) * TINY  # a floor under a divisor
        return half if half.ndim else np.float16(half)
    array = array if array.dtype.kind == "b" else array.astype(np.int32)
    return array if array.ndim else array[()]


def _two(name: str) -> Callable[..., Any]:
    make = getattr(mb, name)
    return lambda w, n, out: make(x=w.read(n["inputs"][0]), y=w.read(n["inputs"][1]), name=out)


def _one(name: str) -> Callable[..., Any]:
    make = getattr(mb, name)
    return lambda w, n, out: make(x=w.read(n["inputs"][0]), name=out)


def _reduce(name: str) -> Callable[..., Any]:
    make = getattr(mb, name)

    def write(w: Writer, n: Any, out: str) -> Any:
        axes = w.numbers(n, 1) or n["attributes"].get("axes")
        keep = bool(n["attributes"].get("keepdims", 1))
        return make(x=w.read(n["inputs"][0]), axes=axes, keep_dims=keep, name=out)

    return write


def _reshape(w: Writer, n: Any, out: str) -> Any:
    shape = n["outputs"][0]["shape"]
    if shape is None or None in shape:
        msg = f"node '{n['name']}' ({n['op']}) with an open shape {NO_FORM}"
        raise NotImplementedError(msg)
    return mb.reshape(x=w.read(n["inputs"][0]), shape=shape, name=out)


def _dequantize(w: Writer, n: Any, _out: str) -> None:
    q, scale = (w.arrays[name] for name in n["inputs"][:2])
    w.rounded[n["outputs"][0]["name"]] = (q, scale, n["attributes"].get("axis", 1))


def _product(w: Writer, n: Any, out: str) -> Any:
    x, weight = w.read(n["inputs"][0]), n["inputs"][1]
    array = w.arrays.get(weight)
    matrix = weight in w.rounded or (array is not None and array.ndim == 2)
    if not matrix or x.rank > 3:
        return mb.matmul(x=x, y=w.read(weight), name=out)
    rows = w.weight(weight, transposed=True) if array is None else _constant(array.T)
    if (found := w.bias_of(n)) is None:
        return mb.linear(x=x, weight=rows, name=out)
    add, bias = found
    w.done.add(add["name"])
    last = add["outputs"][0]["name"]
    y = mb.linear(x=x, weight=rows, bias=_constant(bias), name=w.named(last))
    w.values[last] = y
    return y


def _layer_norm(w: Writer, n: Any, out: str) -> Any:
    x, gamma, *beta = (w.read(name) for name in n["inputs"])
    axis = n["attributes"].get("axis", -1)
    axes = list(range(axis % x.rank, x.rank))
    small = max(n["attributes"].get("epsilon", 1e-5), 1e-7)  # the least that 16 bits hold: 6e-8
    options = {"beta": beta[0]} if beta else {}
    return mb.layer_norm(
        x=x, axes=axes, gamma=gamma, epsilon=np.float16(small), name=out, **options
    )


def _gelu(w: Writer, n: Any, out: str) -> Any:
    tanh = n["attributes"].get("approximate") == "tanh"
    mode = "TANH_APPROXIMATION" if tanh else "EXACT"
    return mb.gelu(x=w.read(n["inputs"][0]), mode=mode, name=out)


def _clip(w: Writer, n: Any, out: str) -> Any:
    x, *bounds = (w.read(name) if name else None for name in n["inputs"])
    for bound, make in zip(bounds, (mb.maximum, mb.minimum), strict=False):
        if bound is not None:
            x = make(x=x, y=bound, name=out if bound is bounds[-1] else f"{out}_low")
    return x


def _slice(w: Writer, n: Any, out: str) -> Any:
    x = w.read(n["inputs"][0])
    starts, ends = w.numbers(n, 1) or [], w.numbers(n, 2) or []
    axes, steps = w.numbers(n, 3), w.numbers(n, 4)
    begin, end, stride = [0] * x.rank, list(x.shape), [1] * x.rank
    for place, axis in enumerate(axes or range(len(starts))):
        size = x.shape[axis]
        first, last, _ = slice(starts[place], ends[place]).indices(size)
        begin[axis], end[axis] = first, last
        stride[axis] = steps[place] if steps else 1
    return mb.slice_by_index(x=x, begin=begin, end=end, stride=stride, name=out)


def _expand(w: Writer, n: Any, out: str) -> Any:
    x, shape = w.read(n["inputs"][0]), n["outputs"][0]["shape"]
    given = [1] * (len(shape) - x.rank) + list(x.shape)
    x = mb.reshape(x=x, shape=given, name=f"{out}_rank") if len(given) != x.rank else x
    reps = [whole // part for whole, part in zip(shape, given, strict=True)]
    return mb.tile(x=x, reps=reps, name=out)


def _conv(w: Writer, n: Any, out: str) -> Any:
    x, kernel, *bias = (w.read(name) for name in n["inputs"])
    rank = x.rank - 2
    given = n["attributes"]
    pads = given.get("pads", [0] * 2 * rank)
    options = {"bias": bias[0]} if bias else {}
    return mb.conv(
        x=x, weight=kernel, pad_type="custom", groups=given.get("group", 1), name=out,
        pad=[pads[side * rank + axis] for axis in range(rank) for side in (0, 1)],
        strides=given.get("strides", [1] * rank),
        dilations=given.get("dilations", [1] * rank), **options,
    )  # fmt: skip


FORMS: dict[str, Callable[[Writer, Any, str], Any]] = {
    **{op: _two(mil) for op, mil in {
        "Add": "add", "Sub": "sub", "Mul": "mul", "Div": "real_div", "Pow": "pow",
        "Max": "maximum", "Min": "minimum", "Equal": "equal", "Less": "less",
        "Greater": "greater", "And": "logical_and", "Or": "logical_or",
    }.items()},
    **{op: _one(mil) for op, mil in {
        "Sqrt": "sqrt", "Tanh": "tanh", "Sigmoid": "sigmoid", "Relu": "relu", "Erf": "erf",
        "Exp": "exp", "Abs": "abs", "Identity": "identity", "Not": "logical_not",
    }.items()},
    **{op: _reduce(mil) for op, mil in {
        "ReduceSum": "reduce_sum", "ReduceMean": "reduce_mean", "ReduceMax": "reduce_max",
        "ReduceL2": "reduce_l2_norm",
    }.items()},
    **dict.fromkeys(("Reshape", "Squeeze", "Unsqueeze", "Flatten"), _reshape),
    "Cast": lambda w, n, out: mb.cast(
        x=w.read(n["inputs"][0]), dtype=ONNX_TYPES[n["attributes"]["to"]], name=out),
    "Clip": _clip,
    "Concat": lambda w, n, out: mb.concat(
        values=[w.read(name) for name in n["inputs"]], axis=n["attributes"]["axis"], name=out),
    "Conv": _conv,
    "CumSum": lambda w, n, out: mb.cumsum(
        x=w.read(n["inputs"][0]), axis=(w.numbers(n, 1) or [0])[0],
        exclusive=bool(n["attributes"].get("exclusive", 0)),
        reverse=bool(n["attributes"].get("reverse", 0)), name=out),
    "DequantizeLinear": _dequantize,
    "Expand": _expand,
    "Gather": lambda w, n, out: mb.gather(
        x=w.read(n["inputs"][0]), indices=w.read(n["inputs"][1]),
        axis=n["attributes"].get("axis", 0), name=out),
    "Gelu": _gelu,
    "LayerNormalization": _layer_norm,
    "MatMul": _product,
    "Neg": lambda w, n, out: mb.mul(x=w.read(n["inputs"][0]), y=np.float16(-1), name=out),
    "Slice": _slice,
    "Softmax": lambda w, n, out: mb.softmax(
        x=w.read(n["inputs"][0]), axis=n["attributes"].get("axis", -1), name=out),
    "Transpose": lambda w, n, out: mb.transpose(
        x=w.read(n["inputs"][0]), perm=n["attributes"]["perm"], name=out),
    "Where": lambda w, n, out: mb.select(
        cond=w.read(n["inputs"][0]), a=w.read(n["inputs"][1]), b=w.read(n["inputs"][2]), name=out),
}  # fmt: skip
"""Each operator's form."""


def _label(package: Path, metadata: dict[str, str]) -> None:
    """Write what the package says of itself; name its parts by their contents, not at random."""
    folder = package / "Data" / AUTHOR
    spec = proto.Model_pb2.Model()
    spec.ParseFromString((folder / SPEC).read_bytes())
    spec.description.metadata.userDefined.update(metadata)
    (folder / SPEC).write_bytes(spec.SerializeToString(deterministic=True))
    (folder / SPEC).chmod(0o644)
    weights = folder / "weights" / "weight.bin"
    digest = hashlib.sha256((folder / SPEC).read_bytes())
    digest.update(weights.read_bytes() if weights.is_file() else b"")
    names = {SPEC: "CoreML Model Specification", "weights": "CoreML Model Weights"}
    items = {
        str(uuid.uuid5(uuid.NAMESPACE_OID, f"{digest.hexdigest()}/{name}")): {
            "author": AUTHOR, "description": what, "name": name, "path": f"{AUTHOR}/{name}",
        }
        for name, what in names.items() if (folder / name).exists()
    }  # fmt: skip
    table = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items}
    table["rootModelIdentifier"] = next(iter(items))
    (package / "Manifest.json").write_text(json.dumps(table, indent=4) + "\n", encoding="utf-8")

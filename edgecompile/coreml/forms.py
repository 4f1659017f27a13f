"""What each operator of a graph is in Core ML's language: float16, integers as int32.

A function takes the writer, a node of graph.json and the name of the result. write_worker.py loads
this file by its path: that environment has none of edgecompile.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from coremltools.converters.mil import Builder as mb  # noqa: N813 - as its documentation does

NO_FORM = "has no Core ML form"
TINY, LARGE = np.finfo(np.float16).tiny, np.finfo(np.float16).max
ONNX_TYPES = {1: "fp16", 10: "fp16", 6: "int32", 7: "int32", 9: "bool"}
"""What Cast's attribute `to` means here."""
Writer = Any
"""The Writer of write_worker.py."""


def constant(array: Any) -> Any:
    """Return a constant as float16, int32 or bool; a number too small for 16 bits is the least."""
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
    rows = w.weight(weight, transposed=True) if array is None else constant(array.T)
    if (found := w.bias_of(n)) is None:
        return mb.linear(x=x, weight=rows, name=out)
    add, bias = found
    w.done.add(add["name"])
    last = add["outputs"][0]["name"]
    y = mb.linear(x=x, weight=rows, bias=constant(bias), name=w.named(last))
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

"""The operators of canonical graphs, one torch function each: all differentiable where ONNX's are.

An operator takes its node's attributes and its inputs, None for one that is left out, and returns
one tensor or a tuple. Shapes, sizes and axes arrive as integer tensors on the CPU.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.nn import functional

Attributes = Mapping[str, Any]
Inputs = Sequence[Any]
"""Tensors, or None in the place of an input that is left out."""
Outputs: TypeAlias = Tensor | tuple[Tensor, ...]
Operator = Callable[[Attributes, Inputs], Outputs]

BY_SIZES = frozenset(
    {"ConstantOfShape", "CumSum", "Expand", "Pad", "Range", "Reshape", "Slice", "Split", "Squeeze",
     "Tile", "Unsqueeze", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"}
)  # fmt: skip
"""Operators whose further inputs are sizes and axes, read on the CPU."""
DTYPES = {
    ir.DataType.FLOAT: torch.float32,
    ir.DataType.DOUBLE: torch.float64,
    ir.DataType.FLOAT16: torch.float16,
    ir.DataType.BFLOAT16: torch.bfloat16,
    ir.DataType.INT64: torch.int64,
    ir.DataType.INT32: torch.int32,
    ir.DataType.INT8: torch.int8,
    ir.DataType.UINT8: torch.uint8,
    ir.DataType.BOOL: torch.bool,
}
PAD_MODES = {"constant": "constant", "reflect": "reflect", "edge": "replicate"}


def attributes_of(node: ir.Node) -> dict[str, Any]:
    """Return a node's attributes as Python values; a tensor becomes an array."""
    values = {name: attribute.value for name, attribute in node.attributes.items()}
    return {
        name: value.numpy() if isinstance(value, ir.TensorProtocol) else value
        for name, value in values.items()
    }


def _numbers(value: Tensor | None, default: Sequence[int] = ()) -> list[int]:
    return list(default) if value is None else [int(n) for n in value.reshape(-1).tolist()]


def _attention(a: Attributes, x: Inputs) -> Tensor:
    """Attention of opset 23 over [B, S, E] or [B, heads, S, d]; grouped key heads are repeated."""
    heads, key_heads = a.get("q_num_heads", 0), a.get("kv_num_heads", 0)
    flat = x[0].ndim == 3
    q, k, v = x[:3]
    if flat:
        q = q.unflatten(2, (heads, -1)).transpose(1, 2)
        k, v = (t.unflatten(2, (key_heads, -1)).transpose(1, 2) for t in (k, v))
    bias = x[3] if len(x) > 3 else None
    mixed = functional.scaled_dot_product_attention(
        q,
        k,
        v,
        attn_mask=bias,
        is_causal=bool(a.get("is_causal", 0)),
        scale=a.get("scale"),
        enable_gqa=q.shape[1] != k.shape[1],
    )
    return mixed.transpose(1, 2).flatten(2) if flat else mixed


def _layer_norm(a: Attributes, x: Inputs) -> Tensor:
    shape = x[0].shape[a.get("axis", -1) :]
    bias = x[2] if len(x) > 2 else None
    return functional.layer_norm(x[0], shape, x[1], bias, a.get("epsilon", 1e-5))


def _gather(a: Attributes, x: Inputs) -> Tensor:
    table, index = x
    axis = a.get("axis", 0) % table.ndim
    index = torch.where(index < 0, index + table.shape[axis], index)
    if table.ndim == 2 and axis == 0:
        return functional.embedding(index, table)
    taken = table.index_select(axis, index.reshape(-1))
    shape = [*table.shape[:axis], *index.shape, *table.shape[axis + 1 :]]
    return torch.reshape(taken, shape)


def _gather_elements(a: Attributes, x: Inputs) -> Tensor:
    axis = a.get("axis", 0)
    return x[0].gather(axis, torch.where(x[1] < 0, x[1] + x[0].shape[axis], x[1]))


def _reshape(a: Attributes, x: Inputs) -> Tensor:
    sizes = _numbers(x[1])
    if not a.get("allowzero", 0):
        sizes = [x[0].shape[i] if size == 0 else size for i, size in enumerate(sizes)]
    return torch.reshape(x[0], sizes)


def _transpose(a: Attributes, x: Inputs) -> Tensor:
    return x[0].permute(*a.get("perm", range(x[0].ndim)[::-1]))


def _slice(_: Attributes, x: Inputs) -> Tensor:
    """Slice; torch has no negative steps, so these are read backwards by index."""
    y, (starts, ends) = x[0], (_numbers(x[1]), _numbers(x[2]))
    axes = _numbers(x[3] if len(x) > 3 else None, range(len(starts)))
    steps = _numbers(x[4] if len(x) > 4 else None, [1] * len(starts))
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        size = y.shape[axis]
        taken = range(*slice(start, None if step < 0 and end < -size else end, step).indices(size))
        if step > 0:
            y = y.narrow(axis, taken.start if taken else 0, 0 if not taken else size - taken.start)
            y = y[(slice(None),) * (axis % y.ndim) + (slice(0, taken.stop - taken.start, step),)]
        else:
            y = y.index_select(axis, torch.tensor(list(taken), device=y.device))
    return y


def _split(a: Attributes, x: Inputs) -> tuple[Tensor, ...]:
    axis = a.get("axis", 0)
    if len(x) > 1 and x[1] is not None:
        return tuple(x[0].split(_numbers(x[1]), axis))
    return tuple(x[0].split(-(-x[0].shape[axis] // a["num_outputs"]), axis))


def _expand(_: Attributes, x: Inputs) -> Tensor:
    return x[0].expand(torch.broadcast_shapes(x[0].shape, _numbers(x[1])))


def _unsqueeze(_: Attributes, x: Inputs) -> Tensor:
    axes = _numbers(x[1])
    y = x[0]
    for axis in sorted(axis % (y.ndim + len(axes)) for axis in axes):
        y = y.unsqueeze(axis)
    return y


def _squeeze(_: Attributes, x: Inputs) -> Tensor:
    given = len(x) > 1 and x[1] is not None
    return x[0].squeeze(tuple(_numbers(x[1]))) if given else x[0].squeeze()


def _shape(a: Attributes, x: Inputs) -> Tensor:
    return torch.tensor(list(x[0].shape)[a.get("start", 0) : a.get("end")], dtype=torch.int64)


def _range(_: Attributes, x: Inputs) -> Tensor:
    start, limit, delta = (t.item() for t in x)
    return torch.arange(start, limit, delta, dtype=x[0].dtype, device=x[0].device)


def _constant_of_shape(a: Attributes, x: Inputs) -> Tensor:
    value = torch.from_numpy(np.array(a.get("value", np.zeros(1, np.float32))))
    return value[0].expand(_numbers(x[0])).clone()


def _pad(a: Attributes, x: Inputs) -> Tensor:
    pads, rank = _numbers(x[1]), x[0].ndim
    axes = _numbers(x[3] if len(x) > 3 else None, range(rank))
    sides = {axis % rank: (pads[i], pads[i + len(axes)]) for i, axis in enumerate(axes)}
    flat = [n for axis in reversed(range(rank)) for n in sides.get(axis, (0, 0))]
    fill = float(x[2]) if len(x) > 2 and x[2] is not None else 0.0
    mode = PAD_MODES[a.get("mode", "constant")]
    return functional.pad(x[0], flat, mode, fill if mode == "constant" else None)


def _conv(a: Attributes, x: Inputs) -> Tensor:
    rank = x[0].ndim - 2
    pads = list(a.get("pads", [0] * 2 * rank))
    sides = [n for axis in reversed(range(rank)) for n in (pads[axis], pads[axis + rank])]
    y = functional.pad(x[0], sides) if any(sides) else x[0]
    convolve: Any = (functional.conv1d, functional.conv2d, functional.conv3d)[rank - 1]
    bias = x[2] if len(x) > 2 else None
    result: Tensor = convolve(
        y,
        x[1],
        bias,
        stride=tuple(a.get("strides", [1] * rank)),
        dilation=tuple(a.get("dilations", [1] * rank)),
        groups=a.get("group", 1),
    )
    return result


def _cum_sum(a: Attributes, x: Inputs) -> Tensor:
    axis = int(x[1])
    y = x[0].flip(axis) if a.get("reverse", 0) else x[0]
    summed = y.cumsum(axis, dtype=y.dtype)
    summed = summed - y if a.get("exclusive", 0) else summed
    return summed.flip(axis) if a.get("reverse", 0) else summed


def _div(_: Attributes, x: Inputs) -> Tensor:
    whole = not x[0].is_floating_point()
    return torch.div(x[0], x[1], rounding_mode="trunc" if whole else None)


def _clip(_: Attributes, x: Inputs) -> Tensor:
    low, high = ([*x, None, None])[1:3]
    y: Tensor = x[0] if low is None else torch.maximum(x[0], low)
    return y if high is None else torch.minimum(y, high)


def _reduce(function: Callable[..., Any]) -> Operator:
    """Return a Reduce* operator: `function(x, axes, keepdim)`."""

    def run(a: Attributes, x: Inputs) -> Tensor:
        axes = _numbers(x[1] if len(x) > 1 else None)
        if not axes and a.get("noop_with_empty_axes", 0):
            return x[0]
        result: Tensor = function(x[0], axes or list(range(x[0].ndim)), bool(a.get("keepdims", 1)))
        return result

    return run


def _plain(function: Callable[..., Any]) -> Operator:
    """Return an operator that has no attributes."""
    return lambda _, x: function(*x)


OPERATORS: Mapping[str, Operator] = {
    "Attention": _attention,
    "Cast": lambda a, x: x[0].to(DTYPES[ir.DataType(a["to"])]),
    "Clip": _clip,
    "Concat": lambda a, x: torch.cat(tuple(x), a["axis"]),
    "ConstantOfShape": _constant_of_shape,
    "Conv": _conv,
    "CumSum": _cum_sum,
    "Div": _div,
    "Einsum": lambda a, x: torch.einsum(a["equation"], *x),
    "Expand": _expand,
    "Flatten": lambda a, x: x[0].reshape(x[0].shape[: a.get("axis", 1)].numel(), -1),
    "Gather": _gather,
    "GatherElements": _gather_elements,
    "Gelu": lambda a, x: functional.gelu(x[0], approximate=a.get("approximate", "none")),
    "InstanceNormalization": lambda a, x: functional.instance_norm(
        x[0], weight=x[1], bias=x[2], eps=a.get("epsilon", 1e-5)
    ),
    "LayerNormalization": _layer_norm,
    "Pad": _pad,
    "Range": _range,
    "ReduceL2": _reduce(lambda t, axes, keep: torch.linalg.vector_norm(t, 2, axes, keep)),
    "ReduceMax": _reduce(torch.amax),
    "ReduceMean": _reduce(torch.mean),
    "ReduceMin": _reduce(torch.amin),
    "ReduceSum": _reduce(lambda t, axes, keep: torch.sum(t, axes, keep, dtype=t.dtype)),
    "Reshape": _reshape,
    "Shape": _shape,
    "Slice": _slice,
    "Softmax": lambda a, x: x[0].softmax(a.get("axis", -1)),
    "Split": _split,
    "Squeeze": _squeeze,
    "Tile": lambda _, x: x[0].tile(_numbers(x[1])),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
} | {
    name: _plain(function)
    for name, function in {
        "Abs": torch.abs,
        "Add": torch.add,
        "And": torch.logical_and,
        "Ceil": torch.ceil,
        "Cos": torch.cos,
        "Equal": torch.eq,
        "Erf": torch.erf,
        "Exp": torch.exp,
        "Floor": torch.floor,
        "Greater": torch.gt,
        "GreaterOrEqual": torch.ge,
        "Identity": lambda x: x,
        "IsNaN": torch.isnan,
        "Less": torch.lt,
        "LessOrEqual": torch.le,
        "Log": torch.log,
        "MatMul": torch.matmul,
        "Max": torch.maximum,
        "Min": torch.minimum,
        "Mul": torch.mul,
        "Neg": torch.neg,
        "Not": torch.logical_not,
        "Or": torch.logical_or,
        "Pow": torch.pow,
        "Reciprocal": torch.reciprocal,
        "Relu": torch.relu,
        "Round": torch.round,
        "Sigmoid": torch.sigmoid,
        "Sign": torch.sign,
        "Sin": torch.sin,
        "Softplus": functional.softplus,
        "Sqrt": torch.sqrt,
        "Sub": torch.sub,
        "Tanh": torch.tanh,
        "Where": torch.where,
    }.items()
}
"""One function an operator of the standard domain."""

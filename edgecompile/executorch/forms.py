"""What each operator of a graph is in torch: as XNNPACK's partitioner takes it, where it can.

A function takes a node of graph.json, what it reads, and all tensors by name. write_worker.py loads
this file by its path: that environment has none of edgecompile.
"""

import math
import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch.ao.quantization.fx import _decomposed  # registers the operators of OPS
from torch.nn import functional

OPS = torch.ops.quantized_decomposed
ONNX_TYPES = {1: torch.float32, 6: torch.int32, 7: torch.int64, 9: torch.bool}
"""What Cast's attribute `to` means."""
__all__ = ["FORMS", "_decomposed"]


def _product(node: Any, given: Any, values: Any) -> Any:
    x, weight, bias, *rounding = given
    if not rounding:
        return functional.linear(x, weight, bias)
    key = f"{node['inputs'][0]}/rounded"
    if key not in values:  # all that read x read it rounded once
        scale, zero = OPS.choose_qparams_per_token_asymmetric(x, torch.int8)
        q = OPS.quantize_per_token(x, scale, zero, -128, 127, torch.int8)
        values[key] = OPS.dequantize_per_token(q, scale, zero, -128, 127, torch.int8, torch.float32)
    rows = OPS.dequantize_per_channel(weight, *rounding, 0, -127, 127, torch.int8)
    return functional.linear(values[key], rows, bias)


def _matmul(a: Any, b: Any) -> Any:
    """Multiply: torch.matmul of three axes would expand and reshape, though nothing needs it."""
    return torch.bmm(a, b) if a.ndim == b.ndim == 3 else torch.matmul(a, b)


def _lookup(_node: Any, given: Any, _values: Any) -> Any:
    table, scale, ids = given
    rows = functional.embedding(ids, table).to(torch.float32)
    return rows * functional.embedding(ids, scale[:, None])


def _gather(node: Any, given: Any, _values: Any) -> Any:
    """Look rows up, or take one slice: what a classifier does with its first token."""
    x, ids = given
    axis = node["attributes"].get("axis", 0)
    if isinstance(ids, int):
        return x.select(axis, ids)
    if isinstance(ids, list):
        ids = torch.tensor(ids)
    return functional.embedding(ids, x) if axis == 0 and x.ndim == 2 else x.index_select(axis, ids)


def _gelu(node: Any, given: Any, _values: Any) -> Any:
    kind = node["attributes"].get("approximate", "none")
    return functional.gelu(given[0], approximate=kind)


def _layer_norm(node: Any, given: Any, _values: Any) -> Any:
    x, gamma, *beta = given
    small = node["attributes"].get("epsilon", 1e-5)
    return functional.layer_norm(x, gamma.shape, gamma, beta[0] if beta else None, small)


def _reshape(_node: Any, given: Any, _values: Any) -> Any:
    """Reshape with -1 for the one size that is open: XNNPACK takes no symbol there."""
    x, shape = given
    sizes = [x.shape[n] if size == 0 else size for n, size in enumerate(shape)]
    if all(isinstance(size, int) and size > 0 for size in sizes):
        return x.contiguous().view(sizes)
    known = math.prod(size for size in sizes if isinstance(size, int) and size > 0)
    whole = math.prod(x.shape)
    rest = whole // known if -1 in sizes else 1
    wanted = [rest if isinstance(size, int) and size == -1 else size for size in sizes]
    return x.contiguous().view([size if isinstance(size, int) else -1 for size in wanted])


def _unsqueeze(_node: Any, given: Any, _values: Any) -> Any:
    x, axes = given
    rank = x.ndim + len(axes)
    for axis in sorted(axis % rank for axis in axes):
        x = x.unsqueeze(axis)
    return x


def _slice(_node: Any, given: Any, _values: Any) -> Any:
    x, starts, ends, *rest = given
    axes = rest[0] if rest and rest[0] is not None else list(range(len(starts)))
    steps = rest[1] if len(rest) > 1 else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        part = [slice(None)] * x.ndim
        part[axis] = slice(start, end if not isinstance(end, int) or end < 2**31 else None, step)
        x = x[tuple(part)]
    return x


def _shape(node: Any, given: Any, _values: Any) -> Any:
    sizes = list(given[0].shape)
    return sizes[node["attributes"].get("start", 0) : node["attributes"].get("end", len(sizes))]


def _reduce(name: str) -> Callable[..., Any]:
    def run(node: Any, given: Any, _values: Any) -> Any:
        axes = given[1] if len(given) > 1 else node["attributes"].get("axes")
        keep = bool(node["attributes"].get("keepdims", 1))
        if name == "length":
            return torch.sqrt((given[0] * given[0]).sum(axes, keepdim=keep))
        return getattr(torch, name)(given[0], axes, keepdim=keep)

    return run


def _clip(_node: Any, given: Any, _values: Any) -> Any:
    x, low, high = [*given, None, None][:3]
    return torch.clamp(x, low, high)


def _plain(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda _node, given, _values: function(*given)


FORMS: dict[str, Callable[..., Any]] = {
    "Product": _product, "Lookup": _lookup, "MatMul": _plain(_matmul),
    "Add": _plain(operator.add), "Sub": _plain(operator.sub), "Mul": _plain(operator.mul),
    "Div": _plain(operator.truediv), "Pow": _plain(torch.pow), "Max": _plain(torch.maximum),
    "Min": _plain(torch.minimum), "Equal": _plain(torch.eq), "Less": _plain(torch.lt),
    "Greater": _plain(torch.gt), "And": _plain(torch.logical_and), "Not": _plain(torch.logical_not),
    "Where": _plain(torch.where), "Sqrt": _plain(torch.sqrt), "Tanh": _plain(torch.tanh),
    "Sigmoid": _plain(torch.sigmoid), "Relu": _plain(torch.relu), "Exp": _plain(torch.exp),
    "Abs": _plain(torch.abs), "Neg": _plain(torch.neg), "Identity": _plain(torch.clone),
    "Erf": _plain(torch.erf),
    "Gelu": _gelu,
    "Softmax": lambda n, g, _: torch.softmax(g[0], n["attributes"].get("axis", -1)),
    "Transpose": lambda n, g, _: g[0].permute(n["attributes"]["perm"]),
    "Gather": _gather,
    "Concat": lambda n, g, _: torch.cat(g, n["attributes"]["axis"]),
    "Cast": lambda n, g, _: g[0].to(ONNX_TYPES[n["attributes"]["to"]]),
    "LayerNormalization": _layer_norm, "Reshape": _reshape, "Unsqueeze": _unsqueeze,
    "Squeeze": lambda _n, g, _v: g[0].squeeze(tuple(g[1])),
    "CumSum": lambda _n, g, _v: torch.cumsum(g[0], int(np.ravel(g[1])[0])),
    "Slice": _slice, "Shape": _shape, "Clip": _clip,
    "Expand": lambda _n, g, _v: g[0].expand(g[1]),
    "ReduceSum": _reduce("sum"), "ReduceMean": _reduce("mean"), "ReduceMax": _reduce("amax"),
    "ReduceL2": _reduce("length"),
}  # fmt: skip
"""Each operator's form in torch."""

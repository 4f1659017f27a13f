"""Importance by gradients: how much the outputs move when a unit is turned down a little (Fisher).

    score = sum over samples and outputs of (d output / d m)^2      m = 1: the unit's mask

(Kwon et al. 2022, section 4.1: the diagonal of the Fisher information of the masks, of a loss that
is the squared distance to the dense outputs.) The sum over outputs is drawn: with signs v of +-1,
(d (v . output) / d m)^2 has it as its mean (Hutchinson 1990).
"""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.data.feed import Feed, valid_tokens
from edgecompile.errors import MissingRuntimeError
from edgecompile.graph import FloatArray, linears
from edgecompile.prune.group import Group
from edgecompile.prune.units import Order, Units

DRAWS = 4
"""Signs are drawn so often for each sample."""


def observe(
    model: ir.Model, groups: Iterable[Group], feeds: Iterable[Feed]
) -> Mapping[str, FloatArray]:
    """Return the score of each unit by group, [units]; say so in one line if there is no torch."""
    try:
        import torch

        from edgecompile.torch_graph.graph_module import GraphModule
    except ImportError as error:
        what = "[prune] importance 'gradient' needs torch, which"
        raise MissingRuntimeError(what, package="edgecompile[distill]") from error

    groups = list(groups)
    inputs = {str(x.weight.name): str(x.x.name) for x in linears(model.graph)}
    reads = {g.name: list(dict.fromkeys(inputs[name] for name in g.readers)) for g in groups}
    blocks = {group.name: group.block for group in groups}
    outputs = [str(value.name) for value in model.graph.outputs]
    watched = list(dict.fromkeys(name for row in reads.values() for name in row))
    module = GraphModule(model, list(dict.fromkeys([*outputs, *watched])))
    signs = torch.Generator().manual_seed(0)
    scores: dict[str, FloatArray] = {group.name: np.zeros(group.units) for group in groups}
    for feed in feeds:
        values = module({name: torch.from_numpy(np.array(array)) for name, array in feed.items()})
        mask = valid_tokens(feed)
        for _ in range(DRAWS):
            total = sum(_drawn(values[name], signs, mask) for name in outputs)
            slopes = torch.autograd.grad(
                total, [values[name] for name in watched], retain_graph=True, allow_unused=True
            )
            by_name = dict(zip(watched, slopes, strict=True))
            for group, names in reads.items():
                seen = [(values[n], by_name[n]) for n in names if by_name[n] is not None]
                parts = [_by_unit(x * slope, blocks[group]) for x, slope in seen]
                if parts:
                    scores[group] = scores[group] + np.square(np.sum(parts, axis=0)).sum(axis=0)
    return {name: score / DRAWS for name, score in scores.items()}


def rank(units: Units) -> Order:
    """Return the units, those that the outputs feel least first."""
    return np.argsort(units.observed, kind="stable")


def _drawn(output: Any, signs: Any, mask: FloatArray | None) -> Any:
    """Return the sum of an output with drawn signs; what stands at padding does not count."""
    import torch

    drawn = torch.randint(0, 2, output.shape, generator=signs, dtype=output.dtype) * 2 - 1
    if mask is not None and output.ndim == 3 and output.shape[:2] == mask.shape:
        drawn = drawn * torch.from_numpy(mask)[:, :, None]
    return (output * drawn).sum()


def _by_unit(array: Any, block: int) -> FloatArray:
    """Sum a tensor [B, ..., units * block] over all but samples and units: [B, units]."""
    rows: FloatArray = array.detach().numpy()
    parts = rows.reshape(len(rows), -1, rows.shape[-1] // block, block)
    return np.asarray(parts.sum(axis=(1, 3)))

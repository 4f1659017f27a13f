"""What the pruning tests share: tiny encoders, and what equals a removal."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.export import read_model
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.group import Group
from edgecompile.prune.remove_units import remove_units

Array = npt.NDArray[Any]


@pytest.fixture
def encoder(checkpoint: Callable[..., Path]) -> Callable[..., ir.Model]:
    """Return a factory of tiny canonical encoders; its keywords are those of `checkpoint`."""

    def make(family: str = "bert", **changes: Any) -> ir.Model:
        return read_model.export(read_model.find_source(checkpoint(family, **changes)))

    return make


@pytest.fixture(scope="session")
def tokens() -> Callable[..., dict[str, Array]]:
    """Return a function that makes the inputs of a tiny encoder, [B, S], the last one padded."""

    def make(model: ir.Model, batch: int = 2, sequence: int = 7) -> dict[str, Array]:
        random = np.random.default_rng(0)
        mask = np.ones((batch, sequence), np.int64)
        mask[-1, sequence // 2 + 1 :] = 0
        arrays = {
            "input_ids": random.integers(5, 100, mask.shape),
            "attention_mask": mask,
            "token_type_ids": np.zeros_like(mask),
        }
        return {str(v.name): arrays[str(v.name)] for v in model.graph.inputs}

    return make


@pytest.fixture(scope="session")
def zeroed() -> Callable[..., ir.Model]:
    """Return a function that makes readers ignore the units that are not kept."""

    def change(
        model: ir.Model, groups: Iterable[Group], keep: Mapping[str, Sequence[int]]
    ) -> ir.Model:
        model = model.clone()
        for group in groups:
            for name in group.readers:
                value = model.graph.initializers[name]
                assert value.const_value is not None
                rows = value.const_value.numpy().copy().reshape(group.units, -1)
                rows[np.setdiff1d(np.arange(group.units), keep[group.name])] = 0
                value.const_value = ir.Tensor(rows.reshape(value.const_value.numpy().shape))
        return model

    return change


@pytest.fixture(scope="session")
def prunes(zeroed: Any, equal: Any) -> Callable[..., ir.Model]:
    """Return a check: without units that nobody listens to, a model answers the same.

    `prunes(model, feed, keep)` removes all units but those of `keep` (by default the even ones of
    every group), and returns the narrower model.
    """

    def check(
        model: ir.Model, feed: Mapping[str, Array], keep: Mapping[str, Sequence[int]] | None = None
    ) -> ir.Model:
        groups = find_groups(model).found
        assert groups
        keep = keep or {group.name: range(0, group.units, 2) for group in groups}
        untouched = ir.to_proto(model).SerializeToString(deterministic=True)
        narrow = remove_units(model, groups, keep)
        assert ir.to_proto(model).SerializeToString(deterministic=True) == untouched
        equal(zeroed(model, groups, keep), narrow, feed)
        return narrow

    return check

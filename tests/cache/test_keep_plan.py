"""A plan on disk and back."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from edgecompile.cache.keep_plan import read_plan, write_plan
from edgecompile.plan import Activation, Output, Plan


def test_a_plan_comes_back_to_the_last_bit(random: np.random.Generator, tmp_path: Path) -> None:
    """Every field: numbers, vectors, what keeps a layer float, the samples of a vendor's tool."""
    vectors = [random.normal(size=3).astype(np.float32) for _ in range(4)]
    plan = Plan(
        activations={"x": Activation(-0.1, 1 / 3, vectors[0], vectors[1], alpha=0.7)},
        kept_float={"head": "why"},
        embeddings="int8",
        outputs={"y": Output(-1e-30, 2.5, vectors[2])},
        tensors={"t": (-1 / 7, 3.0)},
        saturation=80.0,
        samples=({"ids": np.arange(4)[None]}, {"ids": np.arange(7)[None]}),
    )
    write_plan(plan, tmp_path)
    found = read_plan(tmp_path)
    bare = {"activations": {}, "outputs": {}, "samples": ()}
    assert replace(found, **bare) == replace(plan, **bare)
    for table, name in (("activations", "x"), ("outputs", "y")):
        ours, theirs = (getattr(each, table)[name] for each in (plan, found))
        for key in ours.__slots__:
            np.testing.assert_array_equal(getattr(theirs, key), getattr(ours, key))
    for ours, theirs in zip(plan.samples, found.samples, strict=True):
        np.testing.assert_array_equal(theirs["ids"], ours["ids"])

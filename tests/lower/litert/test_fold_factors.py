"""Factors that follow each other become one."""

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from edgecompile.facts import EQUALISED, INT8

TEXT = """(float[b,s,4] x) => (float[b,s,4] y, float[b,s,4] z) {
    p = Mul(x, a) q = Mul(p, two) r = Relu(q) t = Mul(r, a) y = Mul(t, two) z = Mul(t, a) }"""


def test_two_factors_become_one_where_nothing_reads_between(
    graph: Callable[..., ir.Model],
    rewrite: Callable[..., ir.Model],
    equal: Callable[..., None],
    counts: Callable[[ir.Model], dict[str, int]],
) -> None:
    """A number and a vector; what is read twice stays."""
    model = graph(TEXT, a=np.array([1, 2, 3, 4], np.float32), two=np.float32(2))
    model.metadata_props.update({EQUALISED: "yes", INT8: "yes"})
    after = rewrite("lower/litert", model, "fold-factors")
    assert counts(after) == {"Mul": 4, "Relu": 1}
    equal(model, after, {"x": np.random.default_rng(0).normal(size=(1, 3, 4)).astype(np.float32)})

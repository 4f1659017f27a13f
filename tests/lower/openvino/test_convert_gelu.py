"""Gelu says which formula it is."""

import dataclasses
from collections.abc import Callable

import onnx_ir as ir
import pytest

from edgecompile.target import REFERENCE, Forms


@pytest.mark.parametrize(("form", "expected"), [("erf", None), ("tanh", "tanh")])
def test_gelu_takes_the_form_of_the_target(
    graph: Callable[..., ir.Model],
    rewrite: Callable[..., ir.Model],
    form: str,
    expected: str | None,
) -> None:
    """Without a word it is the exact one."""
    target = dataclasses.replace(REFERENCE, forms=Forms(gelu=form))
    model = graph("(float[n] x) => (float[n] y) { y = Gelu(x) }")
    (node,) = rewrite("lower/openvino", model, "convert-gelu", target=target).graph
    said = node.attributes.get("approximate")
    assert (said.as_string() if said is not None else None) == expected

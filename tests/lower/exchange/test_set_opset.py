"""The exchange form is opset 20."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.errors import NeedError, UnsupportedError
from edgecompile.export import native
from edgecompile.export.checkpoint import read_config

Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]

TEXT = "(float[b,s,8] x) => (float[b,s,8] y) {{ {} }}"


def test_opset_20_and_its_ir_version_are_declared(graph: Parse, rewrite: Rewrite) -> None:
    """The first opset with a Gelu."""
    after = rewrite("lower/exchange", graph(TEXT.format("y = Gelu(x)")), "set-opset")
    assert after.graph.opset_imports[""] == 20
    assert after.ir_version == 9


def test_a_newer_operator_is_refused(graph: Parse, rewrite: Rewrite) -> None:
    """The message names the node, its operator and the opset that it needs."""
    model = graph(TEXT.format("y = Swish(x)"), opset=24)
    with pytest.raises(UnsupportedError) as error:
        rewrite("lower/exchange", model, "set-opset")
    assert str(error.value) == ("plain ONNX takes opset 20, but node 'y' (Swish) needs 24")


def test_attention_has_to_be_expanded_before(graph: Parse, rewrite: Rewrite) -> None:
    """Opset 20 has no Attention."""
    body = "y = Attention<q_num_heads = 2, kv_num_heads = 2, scale = 1.0>(x, x, x)"
    with pytest.raises(NeedError, match="set-opset needs: No Attention is left"):
        rewrite("lower/exchange", graph(TEXT.format(body)), "set-opset")


@pytest.mark.parametrize("family", native.families())
def test_every_family_has_an_exchange_form(
    checkpoint: Callable[..., Path],
    rewrite: Rewrite,
    equal: Callable[..., None],
    family: str,
) -> None:
    """The whole stage gives standard operators alone, which compute the same."""
    folder = checkpoint(family)
    model = native.export(folder, read_config(folder))
    after = rewrite("lower/exchange", model)
    assert {node.domain for node in after.graph} == {""}
    ids: npt.NDArray[Any] = np.random.default_rng(0).integers(5, 100, (2, 9))
    mask = np.array([[1] * 9, [1] * 4 + [0] * 5])
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
    feed = {str(value.name): feed[str(value.name)] for value in model.graph.inputs}
    equal(model, after, feed)

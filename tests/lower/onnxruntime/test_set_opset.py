"""The opset that a target takes is declared, or refused with the operator that needs more."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import pytest

from edgecompile import target
from edgecompile.errors import NeedError, UnsupportedError
from edgecompile.export import native
from edgecompile.export.checkpoint import read_config
from edgecompile.plan import FLOAT
from edgecompile.target import REFERENCE

Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]
Run = Callable[..., list[npt.NDArray[Any]]]

ONES = np.ones(8, np.float32)
X = np.random.default_rng(17).normal(size=(2, 5, 8)).astype(np.float32)
NORM = "y = LayerNormalization<axis = -1>(x, one, one)"
ATTENTION = "y = Attention<q_num_heads = 2, kv_num_heads = 2>(x, x, x)"
SHAPE = "s = Shape<start = 1>(x) y = Expand(x, s)"
MEAN = "a = Cast<to = 7>(one) y = ReduceMean(x, a)"
SPLIT = "a, c = Split<axis = 2, num_outputs = 2>(x) y = Concat<axis = 2>(c, a)"


@pytest.fixture(scope="session")
def declare(graph: Parse, rewrite: Rewrite) -> Callable[[str, int], ir.Model]:
    """Return a function that declares an opset for a body."""

    def apply(body: str, opset: int) -> ir.Model:
        model = graph(f"(float[b,s,8] x) => (float[b,s,8] y) {{ {body} }}", one=ONES)
        board = dataclasses.replace(REFERENCE, name="board", opset=opset)
        return rewrite("lower/onnxruntime", model, "set-opset", target=board)

    return apply


@pytest.mark.parametrize("opset", [17, 18, 20, 23])
def test_opset_and_ir_version_go_together(declare: Rewrite, run: Run, opset: int) -> None:
    """The IR version is the one that was released with the opset; the graph computes the same."""
    after = declare(NORM, opset)
    assert after.graph.opset_imports[""] == opset
    assert after.ir_version == onnx.helper.OP_SET_ID_VERSION_MAP["ai.onnx", opset]
    centred = X - X.mean(axis=-1, keepdims=True)
    expected = centred / np.sqrt(X.var(axis=-1, keepdims=True) + 1e-5) + 1
    np.testing.assert_allclose(run(after, {"x": X})[0], expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("body", "opset", "message"),
    [
        (NORM, 16, "takes opset 16, but node 'y' (LayerNormalization) needs 17"),
        (SPLIT, 17, "takes opset 17, but node 'a' (Split) needs 18"),
        (ATTENTION, 22, "takes opset 22, but node 'y' (Attention) needs 23"),
        (SHAPE, 14, "takes opset 14, but node 's' (Shape) needs 15"),
        (MEAN, 17, "takes opset 17, but node 'y' (ReduceMean) needs 18"),
    ],
)
def test_a_node_that_needs_more_is_named(
    declare: Rewrite, body: str, opset: int, message: str
) -> None:
    """The message names target, opset, node, operator and the opset that would do."""
    with pytest.raises(UnsupportedError) as error:
        declare(body, opset)
    assert str(error.value) == f"target board {message}"


def test_an_operator_of_no_opset_is_named(declare: Rewrite) -> None:
    """What no opset has is told apart from what the target's is too old for."""
    with pytest.raises(UnsupportedError) as error:
        declare("y = NoSuchOperator(x)", 20)
    assert str(error.value) == "node 'y' (NoSuchOperator) is no standard operator of opset 23"


def test_operators_of_other_domains_are_not_asked(declare: Rewrite) -> None:
    """The operators of onnxruntime have no opset of ONNX."""
    assert declare("y = com.microsoft.Gelu(x)", 11).graph.opset_imports[""] == 11


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        ("y = Gelu(x)", "Every Gelu is onnxruntime's own operator"),
        (f"a = Neg(x) x2 = Exp(x) s = Add(a, x2) {NORM.replace('(x,', '(s,')}", "No Add of two"),
    ],
)
def test_it_comes_last(declare: Rewrite, body: str, fact: str) -> None:
    """What would still change operators has to run before."""
    with pytest.raises(NeedError, match=f"set-opset needs: {fact}"):
        declare(body, 23)


@pytest.mark.parametrize("name", target.names())
@pytest.mark.parametrize("family", native.families())
def test_every_target_takes_every_family(
    checkpoint: Callable[..., Path], rewrite: Rewrite, run: Run, family: str, name: str
) -> None:
    """The whole stage ends in the target's opset, for each file of targets/, in float exactly."""
    folder = checkpoint(family)
    model = native.export(folder, read_config(folder))
    board = target.load(name)
    ids = np.random.default_rng(0).integers(5, 100, (2, 9))
    mask = np.array([[1] * 9, [1] * 4 + [0] * 5])
    feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": ids * 0}
    feed = {str(value.name): feed[str(value.name)] for value in model.graph.inputs}
    answers = [
        run(rewrite("lower/onnxruntime", model, plan=FLOAT, target=t), feed)[0]
        for t in (REFERENCE, board)
    ]
    tolerance = 5e-3 if board.forms.gelu == "tanh" else 1e-5
    np.testing.assert_allclose(answers[1], answers[0], rtol=0, atol=tolerance)

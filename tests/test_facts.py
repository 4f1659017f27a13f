"""Facts: what can be true of a model, and the first thing that breaks it."""

import inspect
import re

import onnx.parser
import onnx_ir as ir
import pytest

from edgecompile import facts
from edgecompile.facts import EQUALISED, Fact


def graph(nodes: str, opset: int = 23) -> ir.Model:
    """Return a model of these nodes over x [b, 4], z [b, 4] and some initializers."""
    return ir.from_proto(
        onnx.parser.parse_model(
            f'<ir_version: 10, opset_import: ["": {opset}, "com.microsoft": 1]>'
            "m (float[b, 4] x, float[b, 4] z) => (float[b, 4] y)"
            "<float[4, 4] w = {1, 2, 3, 4, 5, 6, 7, 8, 9, 1, 2, 3, 4, 5, 6, 7},"
            " float[4] c = {1, 2, 3, 4}, float[4] d = {1, 1, 1, 1}>"
            f"{{ {nodes} }}"
        )
    )


CASES = [
    (
        facts.no_constant_nodes,
        "[mul] y = Mul(x, c)",
        "[first] t = Add(x, c) [fixed] k = Mul(c, d) y = Add(t, k)",
        "node 'fixed' (Mul) is a constant",
    ),
    (
        facts.no_identity,
        "y = Relu(x)",
        "[drop] t = Dropout(x) [same] y = Identity(t)",
        "node 'drop' is a Dropout",
    ),
    (
        facts.linears_are_matmuls,
        "t = MatMul(x, w) y = Add(t, c)",
        "[plain] t = MatMul(x, w) [head] y = Gemm(t, w, c)",
        "node 'head' is a Gemm",
    ),
    (
        facts.no_attention,
        "y = com.microsoft.Attention(x, w, c)",
        "[att] y = Attention<q_num_heads=1, kv_num_heads=1>(x, z, x)",
        "node 'att' is an Attention",
    ),
    (
        facts.attention_runs,
        "k = Expand(z, c) y = Attention<q_num_heads=1, kv_num_heads=1>(x, z, x, k)",
        "k = Relu(z) [att] y = Attention<q_num_heads=1, kv_num_heads=1>(x, z, x, k)",
        "the mask of node 'att' is not expanded",
    ),
    (
        facts.residuals_are_sums,
        "[b] p = Add(x, c) [s] t = Sum(p, z) y = LayerNormalization(t, c, d)",
        "p = Relu(x) q = Relu(z) [r] t = Add(p, q) y = LayerNormalization(t, c, d)",
        "node 'r' is an Add",
    ),
    (
        facts.no_standard_gelu,
        "y = com.microsoft.Gelu(x)",
        "[act] y = Gelu(x)",
        "node 'act' is a standard Gelu",
    ),
]


def all_facts() -> list[Fact]:
    """Return the functions of facts.py that take a model and return an offender or None."""
    wanted = inspect.signature(facts.no_identity)
    found = [f for _, f in inspect.getmembers(facts, inspect.isfunction)]
    return [f for f in found if inspect.signature(f) == wanted]


@pytest.mark.parametrize(("fact", "sound", "broken", "offender"), CASES)
def test_fact_names_the_first_offender(fact: Fact, sound: str, broken: str, offender: str) -> None:
    """A fact returns None for a model that it holds for, else the node that breaks it."""
    assert fact(graph(sound)) is None
    assert fact(graph(broken)) == offender


def test_identity_is_an_offender_as_dropout_is() -> None:
    """An Identity is named where it stands."""
    offender = facts.no_identity(graph("t = Relu(x) [same] y = Identity(t)"))
    assert offender is not None
    assert "node 'same' is" in offender
    assert "Identity" in offender


def test_equalised_is_read_from_the_model() -> None:
    """A graph says itself that its equalising factors are in place."""
    model = graph("y = Relu(x)")
    assert facts.equalised(model) == "they are not applied yet"
    model.metadata_props[EQUALISED] = "yes"
    assert facts.equalised(model) is None


@pytest.mark.parametrize(
    "nodes",
    [
        "y = Attention<q_num_heads=1, kv_num_heads=1>(x, z, x)",
        "y = Attention<q_num_heads=1, kv_num_heads=1>(x, z, x, z)",
        "k = Relu(x) y = com.microsoft.Attention(x, w, c, k)",
    ],
)
def test_attention_without_a_computed_mask_runs(nodes: str) -> None:
    """No mask, a mask that is an input, or onnxruntime's own operator need no expanding."""
    assert facts.attention_runs(graph(nodes)) is None


@pytest.mark.parametrize(
    "nodes",
    [
        "p = Relu(x) [a] t = Add(p, c) y = LayerNormalization(t, c, d)",
        "p = Relu(x) q = Relu(z) [a] t = Add(p, q) y = Relu(t)",
    ],
)
def test_bias_or_plain_add_is_no_residual(nodes: str) -> None:
    """Only a sum of two computed tensors that is normalised next is a residual."""
    model = graph(nodes)
    (add,) = (node for node in model.graph if node.name == "a")
    assert not facts.is_residual(add)
    assert facts.residuals_are_sums(model) is None


def test_operator_of_another_domain_is_no_constant() -> None:
    """Operators of other domains are not folded, even over initializers."""
    assert facts.no_constant_nodes(graph("k = com.microsoft.Gelu(c) y = Add(x, k)")) is None


def test_node_without_inputs_is_no_constant_of_initializers() -> None:
    """A node that reads nothing (a random number) does not compute from initializers."""
    nodes = "k = RandomNormal<shape=[4], seed=1.0>() y = Add(x, k)"
    assert facts.no_constant_nodes(graph(nodes)) is None


@pytest.mark.parametrize("fact", all_facts(), ids=lambda f: f.__name__)
def test_fact_is_a_sentence(fact: Fact) -> None:
    """What users read of a fact is one sentence, the first line of its docstring."""
    assert re.fullmatch(r"[A-Z][^\n]+\.", facts.sentence(fact))


def test_sentence_is_the_first_line() -> None:
    """A fact's further lines are for readers of the code; without any, its name must do."""

    def long(_model: ir.Model) -> str | None:
        """First line.

        More.
        """

    def bare(_model: ir.Model) -> str | None: ...

    assert facts.sentence(long) == "First line."
    assert facts.sentence(bare) == "bare"

"""Coupled groups, found from the graph: FFN channels, heads, and why others are none."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.export import read_model
from edgecompile.prune.find_groups import find_groups

Encoder = Callable[..., ir.Model]
Parse = Callable[..., ir.Model]
RANDOM = np.random.default_rng(3)


def weight(*shape: int) -> Any:
    """Return random float32."""
    return RANDOM.normal(size=shape).astype(np.float32)


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_an_encoder_has_two_groups_a_layer(encoder: Encoder, family: str) -> None:
    """The heads of its attention, and the channels between the Linears of its FFN."""
    groups = find_groups(encoder(family)).found
    assert [(g.kind, g.units, g.block) for g in groups] == 2 * [("heads", 4, 8)] + 2 * [
        ("channels", 64, 1)
    ]


def test_a_group_is_named_after_what_writes_it(encoder: Encoder) -> None:
    """Channels after their Linear, heads after what their Linears have in common."""
    names = [group.name for group in find_groups(encoder()).found]
    assert names == [
        "encoder.layer.0.attention",
        "encoder.layer.1.attention",
        "encoder.layer.0.intermediate.dense",
        "encoder.layer.1.intermediate.dense",
    ]


def test_a_group_holds_columns_and_rows(encoder: Encoder) -> None:
    """Who writes the units loses columns and bias, who reads them loses rows."""
    heads, _, channels, _ = find_groups(encoder()).found
    assert {(cut.name, cut.axis, cut.block) for cut in channels.cuts} == {
        ("encoder.layer.0.intermediate.dense.weight", 1, 1),
        ("encoder.layer.0.intermediate.dense.bias", 0, 1),
        ("encoder.layer.0.output.dense.weight", 0, 1),
    }
    assert channels.readers == ("encoder.layer.0.output.dense.weight",)
    attention = "encoder.layer.0.attention"
    assert {(cut.name, cut.axis, cut.block) for cut in heads.cuts} == {
        (f"{attention}.output.dense.weight", 0, 8),
        *((f"{attention}.self.{part}.weight", 1, 8) for part in ("query", "key", "value")),
        *((f"{attention}.self.{part}.bias", 0, 8) for part in ("query", "key", "value")),
    }
    assert {(edit.node, edit.slot) for edit in heads.edits} == {
        (attention, "q_num_heads"),
        (attention, "kv_num_heads"),
    }


def test_what_writes_the_residual_stream_is_refused(encoder: Encoder) -> None:
    """Each such Linear is listed, with the operator that mixes its channels."""
    refused = find_groups(encoder()).refused
    assert list(refused) == [
        f"encoder.layer.{layer}.{part}"
        for layer in (0, 1)
        for part in ("attention.output.dense", "output.dense")
    ]
    for why in refused.values():
        assert why.endswith("(LayerNormalization) normalises over them")


def test_a_classifier_is_refused(encoder: Encoder) -> None:
    """What the model gives cannot be cut."""
    refused = find_groups(encoder(head="token")).refused
    assert refused["classifier"] == "they reach the model's output 'logits'"


@pytest.mark.slow
def test_minilm_has_twelve_groups(minilm: Path) -> None:
    """Six layers of 12 heads and 1536 channels."""
    groups = find_groups(read_model.export(read_model.find_source(minilm)))
    found = [(group.kind, group.units, group.block) for group in groups.found]
    assert found == 6 * [("heads", 12, 32)] + 6 * [("channels", 1536, 1)]
    assert len(groups.refused) == 12


# ------------------------------------------------------------------ graphs by hand

SWIGLU = """(float[b,s,4] x) => (float[b,s,4] y) {
    g = MatMul(x, gate) s = Sigmoid(g) a = Mul(g, s) u = MatMul(x, up) h = Mul(a, u)
    y = MatMul(h, down)
}"""
NORMALISED = """(float[b,s,4] x) => (float[b,s,4] y) {
    h = MatMul(x, gate) n = Softmax <axis = 2> (h) y = MatMul(n, down)
}"""
FLIPPED = """(float[b,s,4] x) => (float[b,s,4] y) {
    h = MatMul(x, gate) n = CumSum (h, axis) y = MatMul(n, down)
}"""
UNREAD = """(float[b,s,4] x) => (float[b,s,4] y) {
    h = MatMul(x, gate) m = ReduceMean <keepdims = 1> (h, axes) y = Mul(x, m)
}"""
GATES = {"gate": weight(4, 6), "up": weight(4, 6), "down": weight(6, 4)}


def test_gate_and_up_are_one_group(graph: Parse) -> None:
    """Two Linears whose outputs are multiplied lose the same columns."""
    (group,) = find_groups(graph(SWIGLU, **GATES)).found
    assert (group.name, group.units) == ("gate", 6)
    assert {(cut.name, cut.axis) for cut in group.cuts} == {("gate", 1), ("up", 1), ("down", 0)}


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (NORMALISED, "node 'n' (Softmax) normalises over them"),
        (FLIPPED, "node 'n' (CumSum) is not known to keep them apart"),
        (UNREAD, "node 'm' (ReduceMean) reduces over them"),
    ],
)
def test_an_operator_that_mixes_units_is_named(graph: Parse, body: str, why: str) -> None:
    """Without a group, the reasons say why for each candidate."""
    arrays = GATES | {"axis": np.array(2), "axes": np.array([2])}
    found = find_groups(graph(body, **arrays))
    assert found.found == []
    assert found.refused["gate"] == why


def attention(heads: int, kv_heads: int) -> tuple[str, dict[str, Any]]:
    """Return an attention in plain operators, its key heads repeated for groups of query heads."""
    d, width, share = 2, 2 * heads, heads // kv_heads
    body = """(float[b,s,4] x) => (float[b,s,4] y) {
        q = MatMul(x, wq) k = MatMul(x, wk) v = MatMul(x, wv)
        q4 = Reshape(q, many) k4 = Reshape(k, few) v4 = Reshape(v, few)
        qt = Transpose <perm = [0,2,1,3]> (q4)
        k5 = Unsqueeze(k4, three) ke = Expand(k5, share) kr = Reshape(ke, many)
        kt = Transpose <perm = [0,2,3,1]> (kr)
        v5 = Unsqueeze(v4, three) ve = Expand(v5, share) vr = Reshape(ve, many)
        vt = Transpose <perm = [0,2,1,3]> (vr)
        scores = MatMul(qt, kt) p = Softmax <axis = -1> (scores) m = MatMul(p, vt)
        mt = Transpose <perm = [0,2,1,3]> (m) flat = Reshape(mt, wide)
        y = MatMul(flat, wo)
    }"""
    arrays = {
        "wq": weight(4, width), "wk": weight(4, d * kv_heads), "wv": weight(4, d * kv_heads),
        "wo": weight(width, 4), "many": np.array([0, 0, heads, d]),
        "few": np.array([0, 0, kv_heads, d]), "wide": np.array([0, 0, width]),
        "share": np.array([1, 1, 1, share, 1]), "three": np.array([3]),
    }  # fmt: skip
    return body, arrays


@pytest.mark.parametrize(
    ("heads", "kv_heads", "units"), [(4, 4, 4), (6, 3, 3), (6, 2, 2), (4, 1, 4)]
)
def test_query_heads_that_share_a_key_head_are_one_unit(
    graph: Parse, prunes: Any, heads: int, kv_heads: int, units: int
) -> None:
    """Of grouped-query attention; where all share one key head, each query head is a unit."""
    body, arrays = attention(heads, kv_heads)
    model = graph(body, **arrays)
    (group,) = find_groups(model).found
    assert (group.kind, group.units, group.block) == ("heads", units, 2 * heads // units)
    cut = {name for name, *_ in [(c.name,) for c in group.cuts]}
    assert ("wk" in cut) == (kv_heads > 1)
    prunes(model, {"x": weight(2, 5, 4)})


PACKED = """(float[b,s,4] x) => (float[b,s,4] y) {{
    j = MatMul(x, w) jb = Add(j, bias) {split}
    q4 = Reshape(q, many) k4 = Reshape(k, many) v4 = Reshape(v, many)
    qt = Transpose <perm = [0,2,1,3]> (q4) kt = Transpose <perm = [0,2,3,1]> (k4)
    vt = Transpose <perm = [0,2,1,3]> (v4)
    scores = MatMul(qt, kt) p = Softmax <axis = -1> (scores) m = MatMul(p, vt)
    mt = Transpose <perm = [0,2,1,3]> (m) flat = Reshape(mt, wide) y = MatMul(flat, wo)
}}"""
SPLITS = {
    "split": "q, k, v = Split <axis = -1, num_outputs = 3> (jb)",
    "split, sizes stated": "q, k, v = Split <axis = -1> (jb, sizes)",
    "slices": "q = Slice(jb, i0, i6, i2) k = Slice(jb, i6, i12, i2) v = Slice(jb, i12, i99, i2)",
    "slice from the end": (
        "q = Slice(jb, i0, minus12, i2) k = Slice(jb, minus12, minus6, i2)"
        " v = Slice(jb, minus6, i99, i2)"
    ),
}


@pytest.mark.parametrize("split", SPLITS)
def test_a_packed_projection_is_cut_in_three_places(graph: Parse, prunes: Any, split: str) -> None:
    """Each head owns columns of q, of k and of v; the numbers that split them follow."""
    numbers = {"i0": 0, "i2": 2, "i6": 6, "i12": 12, "i99": 99, "minus12": -12, "minus6": -6}
    arrays = {
        "w": weight(4, 18), "bias": weight(18), "wo": weight(6, 4), "sizes": np.array([6, 6, 6]),
        "many": np.array([0, 0, 3, 2]), "wide": np.array([0, 0, -1]),
        **{name: np.array([number]) for name, number in numbers.items()},
    }  # fmt: skip
    model = graph(PACKED.format(split=SPLITS[split]), **arrays)
    (group,) = find_groups(model).found
    (cut,) = (cut for cut in group.cuts if cut.name == "w")
    assert cut.owners.tolist() == 3 * [0, 0, 1, 1, 2, 2]
    narrow = prunes(model, {"x": weight(2, 5, 4)})
    assert narrow.graph.initializers["w"].const_value.shape == (4, 12)

"""Graphs as torch's exporters write them: old opsets, fixed shapes, clashing names, odd attention.

Each is a small random module, exported, canonicalised, and compared with torch itself.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from edgecompile import pipeline, target  # noqa: E402 - after the skip
from edgecompile.errors import UnsupportedError  # noqa: E402
from edgecompile.export import onnx_file  # noqa: E402
from edgecompile.graph import op_histogram  # noqa: E402
from edgecompile.plan import FLOAT  # noqa: E402
from edgecompile.session import session  # noqa: E402

pytestmark = pytest.mark.exporters

SIZES = ((1, 1), (1, 6), (3, 17), (2, 64))
LAYERS = 2
CANONICAL = {"Attention": LAYERS, "Gelu": LAYERS, "LayerNormalization": 2 * LAYERS + 1}
TEXT = ("input_ids", "attention_mask")

Check = Callable[..., ir.Model]


class States(torch.nn.Module):
    """A BERT that returns its last hidden state."""

    def __init__(self, attention: str) -> None:
        """Build two layers with one of transformers' attention functions."""
        super().__init__()
        config = transformers.BertConfig(
            vocab_size=120, hidden_size=32, num_hidden_layers=LAYERS, num_attention_heads=4,
            intermediate_size=64, max_position_embeddings=96, attn_implementation=attention,
        )  # fmt: skip
        self.bert = transformers.BertModel(config, add_pooling_layer=False)

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any = None) -> Any:
        """Return [B, S, 32]."""
        found = self.bert(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )
        return found.last_hidden_state


@pytest.fixture
def check(
    *,
    tmp_path: Path,
    randomise: Callable[..., Any],
    export_torch: Callable[..., Path],
    recognise: Callable[[ir.Model], ir.Model],
    feed: Callable[..., Any],
    answer: Any,
    ask: Any,
    same: Callable[..., None],
) -> Check:
    """Return a function that exports a module, compares, and returns the canonical graph."""

    def run(
        module: Any, exporter: str, opset: int, *, sizes: Sequence[Any] = SIZES, **how: Any
    ) -> ir.Model:
        path = export_torch(randomise(module), tmp_path / "m.onnx", exporter, opset, **how)
        model = recognise(onnx_file.read(path))
        canonical = answer(model)
        for size in sizes:
            inputs = feed(*size, names=how.get("names", (*TEXT, "token_type_ids")))
            same(canonical(inputs)[0], ask(module, inputs), inputs, 1e-5)
        assert [value.name for value in model.graph.outputs] == [how.get("output", "hidden")]
        return model

    return run


def heavy(model: ir.Model) -> dict[str, int]:
    """Count the recognised operators, and the Softmaxes that were not."""
    kinds = (*CANONICAL, "Softmax", "Erf", "Tanh", "ReduceMean", "Gemm")
    return {op: n for op, n in op_histogram(model.graph).items() if op in kinds}


# ------------------------------------------------------------------ opsets, shapes, names


@pytest.mark.parametrize(
    ("exporter", "attention", "opset"),
    [
        *(("legacy", "eager", opset) for opset in (11, 12, 13, 16, 20)),
        *(("legacy", "sdpa", opset) for opset in (14, 18)),
        *(("dynamo", *form) for form in (("sdpa", 18), ("sdpa", 23), ("eager", 23))),
    ],
)
def test_every_opset_is_recognised(check: Check, exporter: str, attention: str, opset: int) -> None:
    """Opset 11 flattens around Softmax, 13 lacks LayerNormalization, 23 has its own Attention."""
    assert heavy(check(States(attention), exporter, opset)) == CANONICAL


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
def test_a_model_without_token_types_is_recognised(check: Check, exporter: str) -> None:
    """The constant token type becomes its row; the graph has two inputs."""
    model = check(States("sdpa"), exporter, 18, names=TEXT)
    assert heavy(model) == CANONICAL
    assert [value.name for value in model.graph.inputs] == [*TEXT]
    assert op_histogram(model.graph)["Gather"] == 1


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
@pytest.mark.parametrize(
    ("fixed", "sizes"),
    [((0, 1), [(2, 8)]), ((1,), [(1, 8), (3, 8)]), ((0,), [(2, 1), (2, 33)])],
    ids=["all", "sequence", "batch"],
)
def test_fixed_shapes_are_recognised(
    check: Check, attention: str, fixed: Sequence[int], sizes: Sequence[Any]
) -> None:
    """Where a size cannot vary, the graph is the same, with constants for what depends on it."""
    model = check(States(attention), "legacy", 17, fixed=fixed, sizes=sizes)
    assert heavy(model) == CANONICAL
    assert ("Shape" in op_histogram(model.graph)) == (1 not in fixed)


@pytest.mark.parametrize("output", ["embedding", "bert.embeddings.LayerNorm.bias"])
@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
def test_an_output_may_be_called_like_another_tensor(
    check: Check, exporter: str, output: str
) -> None:
    """Dynamo gives "embedding" or a weight's name twice, which is no valid ONNX: it is mended."""
    assert heavy(check(States("sdpa"), exporter, 20, output=output)) == CANONICAL


# ------------------------------------------------------------------ attention in other forms


class Attentive(torch.nn.Module):
    """One attention layer over [B, S, 32] with 4 heads, its scores made in a way of its own."""

    def __init__(self, kind: str) -> None:
        """Build the layers that any kind needs."""
        super().__init__()
        self.kind = kind
        self.embedding = torch.nn.Embedding(120, 32)
        self.q, self.k, self.v, self.out = (torch.nn.Linear(32, 32) for _ in range(4))
        self.qkv = torch.nn.Linear(32, 96)
        self.relative = torch.nn.Embedding(64, 4)
        self.norm = torch.nn.LayerNorm(32)

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        """Return [B, S, 32]."""
        x = self.embedding(input_ids)
        q, k, v = self.project(x)
        scores = self.score(q, k, input_ids, attention_mask)
        mixed = (scores.softmax(-1) @ v).transpose(1, 2).reshape(x.shape)
        return self.norm(self.out(mixed) + x)

    def project(self, x: Any) -> Any:
        """Return q, k, v, each [B, heads, S, 8]."""
        batch, length, _ = x.shape
        if self.kind == "joint":
            return self.qkv(x).view(batch, length, 3, 4, 8).permute(2, 0, 3, 1, 4).unbind()
        if self.kind == "joint by head":
            return self.qkv(x).view(batch, length, 4, 3, 8).permute(3, 0, 2, 1, 4).unbind()
        parts = (self.q(x), self.k(x), self.v(x))
        return [part.view(batch, length, 4, 8).transpose(1, 2) for part in parts]

    def score(self, q: Any, k: Any, ids: Any, mask: Any) -> Any:
        """Return what the softmax reads, [B, heads, S, S]."""
        if self.kind == "scale on q and k":
            scores = (q * 8**-0.25) @ (k * 8**-0.25).transpose(2, 3)
        elif self.kind == "no scale":
            scores = q @ k.transpose(2, 3)
        else:
            scores = q @ k.transpose(2, 3) / 8**0.5
        if self.kind == "masked_fill":
            return scores.masked_fill((mask == 0)[:, None, None, :], -float("inf"))
        if self.kind == "where":
            return torch.where(mask[:, None, None, :] > 0, scores, torch.tensor(-1e9))
        if self.kind != "no mask":
            padded = ids == 7 if self.kind == "mask from ids" else 1.0 - mask.float()
            scores = scores + padded[:, None, None, :].float() * torch.finfo(torch.float32).min
        places = torch.arange(q.shape[2])
        return self.place(scores, places[:, None] - places[None, :])

    def place(self, scores: Any, apart: Any) -> Any:
        """Add what depends on the distance of two tokens, [S, S]."""
        if self.kind == "relative":
            return scores + self.relative(apart.clamp(-31, 31) + 31).permute(2, 0, 1)[None]
        if self.kind == "window":
            return scores + (apart.abs() > 32)[None, None].float() * -1e4
        if self.kind == "window by masked_fill":
            return scores.masked_fill(apart.abs() > 32, -1e4)
        if self.kind == "causal":
            return scores + (apart < 0)[None, None].float() * -1e4
        return scores


RECOGNISED = (
    "plain", "joint", "joint by head", "scale on q and k", "no scale", "masked_fill", "where",
    "mask from ids", "no mask", "relative", "window", "causal",
)  # fmt: skip


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
@pytest.mark.parametrize("kind", RECOGNISED)
def test_attention_is_recognised(check: Check, kind: str, exporter: str) -> None:
    """Whatever makes the scores: one Attention comes out, right at lengths never probed."""
    how = {"names": TEXT, "longest": 400, "sizes": (*SIZES, (2, 100))}
    found = op_histogram(check(Attentive(kind), exporter, 18, **how).graph)
    assert found["Attention"] == 1
    assert "Softmax" not in found
    assert found.get("Mul", 0) <= 2 + (kind == "window")  # no scaling of q or k is left
    assert found["MatMul"] == 4


@pytest.mark.parametrize("exporter", ["legacy", "dynamo"])
def test_a_window_is_no_padding(check: Check, exporter: str) -> None:
    """A mask that looks like padding on short inputs, and cuts long ones, is left as it is."""
    how = {"names": TEXT, "longest": 400, "sizes": (*SIZES, (2, 100))}
    found = op_histogram(check(Attentive("window by masked_fill"), exporter, 18, **how).graph)
    assert "Attention" not in found
    assert found["Softmax"] == 1


@pytest.mark.parametrize("kind", ["joint by head", "relative", "window", "mask from ids"])
def test_every_bias_runs_in_the_form_of_a_target(
    check: Check, feed: Callable[..., Any], ask: Any, same: Callable[..., None], kind: str
) -> None:
    """Lowered for x86-64 in float, attention with any bias still computes what torch does."""
    module = Attentive(kind)
    model = check(module, "legacy", 17, names=TEXT)
    opened = session(pipeline.lower(model, FLOAT, target.load("x86-64")))
    for size in SIZES:
        inputs = feed(*size, names=TEXT)
        names = [value.name for value in model.graph.inputs]
        found = opened.run(None, {name: inputs[name] for name in names})[0]
        same(found, ask(module, inputs), inputs, 1e-5)


class Rotary(torch.nn.Module):
    """One attention whose q and k are turned by position, as `scaled_dot_product_attention`."""

    def __init__(self) -> None:
        """Build three projections."""
        super().__init__()
        self.embedding = torch.nn.Embedding(120, 32)
        self.q, self.k, self.v = (torch.nn.Linear(32, 32) for _ in range(3))

    def forward(self, input_ids: Any, attention_mask: Any) -> Any:
        """Return [B, S, 32]."""
        x = self.embedding(input_ids)
        angle = torch.arange(x.shape[1])[:, None] * torch.arange(8)[None, :] * 0.1
        parts = [f(x).view(*x.shape[:2], 4, 8).transpose(1, 2) for f in (self.q, self.k, self.v)]
        q, k = (part * angle.cos() + part.flip(-1) * angle.sin() for part in parts[:2])
        bias = (1.0 - attention_mask[:, None, None, :].float()) * -1e4
        bias = bias.expand(-1, 1, x.shape[1], -1)  # onnxruntime's Attention broadcasts no rows
        mixed = torch.nn.functional.scaled_dot_product_attention(q, k, parts[2], attn_mask=bias)
        return mixed.transpose(1, 2).reshape(x.shape)


def test_rotary_attention_stays_in_plain_operators(check: Check) -> None:
    """It is no Attention of three projections; it computes the same as before."""
    found = op_histogram(check(Rotary(), "dynamo", 20, names=TEXT).graph)
    assert "Attention" not in found
    assert found["Softmax"] == 1


def test_an_attention_that_is_not_canonical_is_refused(
    tmp_path: Path,
    randomise: Callable[..., Any],
    export_torch: Callable[..., Path],
    recognise: Callable[[ir.Model], ir.Model],
) -> None:
    """Opset 23 hides rotary heads behind an Attention: the error says how to export instead."""
    path = export_torch(randomise(Rotary()), tmp_path / "m.onnx", "dynamo", 23, names=TEXT)
    with pytest.raises(
        UnsupportedError, match=r"node 'node_.*': an Attention .*export it again with opset 20"
    ):
        recognise(onnx_file.read(path))

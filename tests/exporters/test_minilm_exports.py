"""The real MiniLM through every exporter: one graph comes out, whatever went in."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("optimum.exporters.onnx")

from edgecompile.export import onnx_file, read_model  # noqa: E402 - after the skip
from edgecompile.graph import op_histogram  # noqa: E402

pytestmark = pytest.mark.exporters

SIZES = ((1, 1), (1, 9), (3, 33), (2, 128))
ROUTES = (
    "native",
    "optimum",
    "legacy sdpa 14",
    "legacy sdpa 17",
    "legacy eager 14",
    "legacy eager 17",
    "dynamo sdpa 20",
    "dynamo eager 20",
)


class Embedder(torch.nn.Module):
    """MiniLM with the pooling of sentence-transformers: mean of valid tokens, length 1."""

    def __init__(self, folder: Path, attention: str) -> None:
        """Load the checkpoint with one of transformers' attention functions."""
        super().__init__()
        self.encoder = transformers.AutoModel.from_pretrained(
            folder, attn_implementation=attention, local_files_only=True
        )
        self.eval()

    def forward(self, input_ids: Any, attention_mask: Any, token_type_ids: Any) -> Any:
        """Return [B, 384]."""
        found = self.encoder(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        )
        valid = attention_mask.unsqueeze(-1).expand(found[0].size()).float()
        mean = (found[0] * valid).sum(1) / torch.clamp(valid.sum(1), min=1e-9)
        return torch.nn.functional.normalize(mean, p=2, dim=1)


@pytest.fixture(scope="module")
def native(minilm: Path) -> ir.Model:
    """Return the native export."""
    source = read_model.find_source(minilm)
    assert source.route == "native"
    return read_model.export(source)


@pytest.fixture(scope="module", params=ROUTES)
def exported(
    *,
    request: pytest.FixtureRequest,
    minilm: Path,
    native: ir.Model,
    recognise: Callable[[ir.Model], ir.Model],
    export_torch: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> ir.Model:
    """Return the canonical graph that one route gives."""
    if request.param == "native":
        return native
    if request.param == "optimum":
        source = read_model.Source(minilm, "optimum", read_model.find_source(minilm).config)
        return read_model.pooled(source, recognise(read_model.export(source)))
    exporter, attention, opset = request.param.split()
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    module = Embedder(minilm, attention)
    export_torch(module, path, exporter, int(opset), output="sentence_embedding", longest=512)
    return recognise(onnx_file.read(path))


def test_every_route_computes_what_transformers_does(
    minilm: Path, exported: ir.Model, feed: Callable[..., Any], answer: Any, ask: Any
) -> None:
    """The embeddings are within 1e-5 of torch's, for all sizes, padded or not."""
    module, run = Embedder(minilm, "eager"), answer(exported)
    for size in SIZES:
        inputs = feed(*size, words=30_000)
        np.testing.assert_allclose(run(inputs)[0], ask(module, inputs), rtol=0, atol=1e-5)


def test_every_route_computes_what_the_native_one_does(
    native: ir.Model, exported: ir.Model, feed: Callable[..., Any], answer: Any
) -> None:
    """The embeddings are within 1e-5 of the native export's."""
    first, second = answer(native), answer(exported)
    for size in SIZES:
        inputs = feed(*size, words=30_000)
        np.testing.assert_allclose(first(inputs)[0], second(inputs)[0], rtol=0, atol=1e-5)


def test_every_route_gives_the_same_operators(native: ir.Model, exported: ir.Model) -> None:
    """Operator by operator the canonical graph is the native exporter's."""
    assert op_histogram(exported.graph) == op_histogram(native.graph)


def test_every_route_gives_the_same_inputs_and_output(native: ir.Model, exported: ir.Model) -> None:
    """The names are those of transformers and sentence-transformers."""
    for a, b in ((native.graph.inputs, exported.graph.inputs),
                 (native.graph.outputs, exported.graph.outputs)):  # fmt: skip
        assert {(v.name, v.dtype) for v in a} == {(v.name, v.dtype) for v in b}


def test_names_are_unique(exported: ir.Model) -> None:
    """No tensor is called like another one, and no node."""
    graph = exported.graph
    values = [v.name for v in (*graph.inputs, *graph.initializers.values())]
    values += [v.name for node in graph for v in node.outputs]
    nodes = [node.name for node in graph]
    assert len(values) == len(set(values))
    assert len(nodes) == len(set(nodes))

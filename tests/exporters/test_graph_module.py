"""A canonical graph as a torch module: the same numbers, gradients, and back to a graph."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("optimum.exporters.onnx")

from edgecompile.errors import UnsupportedError  # noqa: E402
from edgecompile.export import read_model  # noqa: E402
from edgecompile.torch_graph.find_weights import MATRIX, TABLE, find_weights  # noqa: E402 - the skip
from edgecompile.torch_graph.graph_module import GraphModule, with_weights  # noqa: E402

pytestmark = [
    pytest.mark.exporters,
    pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script(_method)?` is deprecated"),
]

TOLERANCE = 1e-5
SMALL = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": 96,
}
CONFIGS: dict[str, dict[str, Any]] = {
    "albert": SMALL | {"embedding_size": 16},  # shared weights
    "convbert": SMALL | {"embedding_size": 32, "conv_kernel_size": 3},  # Conv, Pad, Gather
    "deberta-v2": SMALL  # If, GatherElements, no Attention
    | {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
    | {"position_buckets": 16, "norm_rel_ebd": "layer_norm"},
    "modernbert": SMALL  # rotary, windows, Split
    | {"local_attention": 16, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}
    | {"bos_token_id": 1, "eos_token_id": 2},
    "mobilebert": SMALL
    | {"embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 2},
    "mpnet": SMALL,  # relative positions
}


@dataclasses.dataclass(frozen=True)
class Made:
    """A canonical graph and the id that pads."""

    name: str
    model: ir.Model
    pad: int


@pytest.fixture(scope="module", params=CONFIGS)
def made(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    randomise: Callable[..., Any],
    recognise: Callable[..., ir.Model],
) -> Made:
    """Save a random checkpoint, export it, canonicalise the graph."""
    config = transformers.AutoConfig.for_model(request.param, **CONFIGS[request.param])
    gain = 0.3 if request.param == "mobilebert" else 0.7
    module = randomise(transformers.AutoModel.from_config(config), gain)
    folder = tmp_path_factory.mktemp("checkpoint")
    module.save_pretrained(folder, safe_serialization=True)
    model = recognise(read_model.export(read_model.find_source(folder)))
    return Made(request.param, model, config.pad_token_id or 0)


def ask(module: Any, feed: dict[str, Any]) -> list[Any]:
    """Return a module's outputs as arrays."""
    with torch.no_grad():
        found = module({name: torch.from_numpy(array) for name, array in feed.items()})
    return [tensor.numpy() for tensor in found.values()]


def test_torch_computes_what_onnxruntime_does(
    made: Made, feed: Callable[..., Any], answer: Any, same: Callable[..., None]
) -> None:
    """Within 1e-5 of the outputs' size, padded or not, at several lengths."""
    run, module = answer(made.model), GraphModule(made.model)
    for size in ((1, 1), (3, 17), (2, 64)):
        names = [str(value.name) for value in made.model.graph.inputs]
        inputs = feed(*size, names=names, pad=made.pad)
        for found, wanted in zip(ask(module, inputs), run(inputs), strict=True):
            same(found, wanted, inputs, TOLERANCE)


def test_all_weights_but_tables_are_trained(made: Made, feed: Callable[..., Any]) -> None:
    """Each parameter gets a gradient that is the slope of the output; constants are none."""
    module = GraphModule(made.model)
    names = [str(value.name) for value in made.model.graph.inputs]
    inputs = {n: torch.from_numpy(a) for n, a in feed(2, 9, names=names, pad=made.pad).items()}
    weights = module.weights()
    kinds = find_weights(made.model.graph)
    assert set(weights) == {name for name, kind in kinds.items() if kind == MATRIX}
    assert TABLE in kinds.values()

    def total() -> Any:
        return sum(output.square().mean() for output in module(inputs).values())

    total().backward()
    assert all(weight.grad is not None for weight in weights.values())
    name, weight = max(weights.items(), key=lambda item: float(item[1].grad.norm()))
    step = weight.grad / weight.grad.norm() * 1e-2
    with torch.no_grad():
        weight += step
        high = total()
        weight -= 2 * step
        low = total()
    slope = float(high - low) / 2e-2
    assert slope == pytest.approx(float(weight.grad.norm()), rel=0.05), name


def test_other_weights_go_back_into_the_graph(
    made: Made, feed: Callable[..., Any], answer: Any, same: Callable[..., None]
) -> None:
    """The graph with trained weights answers as the module; the first graph is as it was."""
    names = [str(value.name) for value in made.model.graph.inputs]
    inputs = feed(2, 9, names=names, pad=made.pad)
    before = answer(made.model)(inputs)
    module = GraphModule(made.model, tables=True)
    with torch.no_grad():
        for weight in module.weights().values():
            noise = torch.randn(weight.shape, generator=torch.Generator().manual_seed(0))
            weight.add_(0.02 * noise)
    changed = with_weights(made.model, module.weights())
    for found, wanted in zip(answer(changed)(inputs), ask(module, inputs), strict=True):
        same(found, wanted, inputs, TOLERANCE)
        assert np.abs(found - before[0]).max() > 1e-3
        break
    np.testing.assert_array_equal(answer(made.model)(inputs)[0], before[0])


def test_minilm(minilm: Path, feed: Callable[..., Any], answer: Any) -> None:
    """The real model: embeddings and states within 1e-5."""
    model = read_model.export(read_model.find_source(minilm))
    module, run = GraphModule(model), answer(model)
    inputs = feed(4, 48, words=20_000)
    for found, wanted in zip(ask(module, inputs), run(inputs), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=TOLERANCE)
    assert len(module.stretches) == 7


KINDS = {
    "vit": {"image_size": 32, "patch_size": 8},
    "wav2vec2": {  # InstanceNormalization, grouped Conv
        "conv_dim": (16, 16, 16), "conv_stride": (5, 2, 2), "conv_kernel": (10, 3, 3),
        "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4,
        "num_feat_extract_layers": 3,
    },
}  # fmt: skip


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore:.*:DeprecationWarning", "ignore:.*:FutureWarning")
def test_images_and_sound(
    kind: str, tmp_path: Path, randomise: Any, recognise: Any, answer: Any
) -> None:
    """A vision and a speech encoder answer as in onnxruntime, and their Linears can be trained."""
    config = transformers.AutoConfig.for_model(kind, **(SMALL | KINDS[kind]))
    module = randomise(transformers.AutoModel.from_config(config), 0.7)
    module.save_pretrained(tmp_path, safe_serialization=True)
    model = recognise(read_model.export(read_model.find_source(tmp_path)))
    name = str(model.graph.inputs[0].name)
    shape = (2, 3, 32, 32) if kind == "vit" else (2, 4000)
    inputs = {name: np.random.default_rng(0).normal(size=shape).astype(np.float32)}
    found = GraphModule(model)
    for ours, wanted in zip(ask(found, inputs), answer(model)(inputs), strict=True):
        np.testing.assert_allclose(ours, wanted, rtol=TOLERANCE, atol=TOLERANCE)
    assert len([n for n in found.weights() if n.endswith("weight")]) >= 6


def test_what_nobody_wants_is_not_computed(minilm: Path) -> None:
    """Asked for the first layer's state, the module holds the first layer's weights alone."""
    model = read_model.export(read_model.find_source(minilm))
    wanted = "encoder.layer.0.output.LayerNorm"
    module = GraphModule(model, [wanted])
    assert not [name for name in module.weights() if "layer.1." in name]
    ids = torch.arange(10)[None]
    feed = {"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0}
    assert {n: tuple(t.shape) for n, t in module(feed).items()} == {wanted: (1, 10, 384)}


def test_an_unknown_operator_is_named() -> None:
    """With its node, in one line."""
    x = ir.Value(name="x", shape=ir.Shape([1, 4]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("Det", [x], name="odd")
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 23})
    with pytest.raises(UnsupportedError, match="node 'odd' is a Det, which") as raised:
        GraphModule(ir.Model(graph, ir_version=10))
    assert "\n" not in str(raised.value)

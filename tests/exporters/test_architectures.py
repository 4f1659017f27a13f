"""Text encoders of other architectures through optimum: exported, recognised, quantized, run."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")
pytest.importorskip("optimum.exporters.onnx")

from edgecompile import pipeline, target  # noqa: E402 - after the skip
from edgecompile.emit import onnxruntime  # noqa: E402
from edgecompile.evaluate import accuracy  # noqa: E402
from edgecompile.export import read_model  # noqa: E402
from edgecompile.graph import op_histogram  # noqa: E402
from edgecompile.recipe import CalibrationTable, Recipe  # noqa: E402

pytestmark = [
    pytest.mark.exporters,
    # transformers' DeBERTa and ModernBERT, when they are imported
    pytest.mark.filterwarnings(r"ignore:`torch\.jit\.script(_method)?` is deprecated"),
]

LAYERS, WORDS, LONGEST = 2, 120, 96
SIZES = ((1, 1), (1, 6), (3, 17), (2, 64))
CALIBRATION, GOLDEN, TOKENS = 16, 16, 24
COSINE = 0.98
"""Random layers of 32 channels lose more to int8 than trained ones of 384."""

BERT = {
    "vocab_size": WORDS,
    "hidden_size": 32,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "max_position_embeddings": LONGEST,
}
XLM = {
    "vocab_size": WORDS,
    "emb_dim": 32,
    "n_layers": LAYERS,
    "n_heads": 4,
    "max_position_embeddings": LONGEST,
    "n_langs": 1,
}
DISENTANGLED = {"relative_attention": True, "pos_att_type": ["c2p", "p2c"], "type_vocab_size": 0}
ESM = BERT | {"pad_token_id": 1, "mask_token_id": 5}


@dataclasses.dataclass(frozen=True)
class Case:
    """A small model of one architecture, what is recognised in it, and how many become int8."""

    model_type: str
    config: dict[str, Any]
    attentions: int = LAYERS
    gelus: int = LAYERS
    norms: int = 2 * LAYERS + 1
    linears: int = 2 * LAYERS
    gain: float = 1.5


CASES = {
    "albert": Case("albert", BERT | {"embedding_size": 16}),
    "bert, relative keys": Case("bert", BERT | {"position_embedding_type": "relative_key"}, 0),
    "big_bird": Case("big_bird", BERT | {"attention_type": "original_full"}),
    "camembert": Case("camembert", BERT | {"pad_token_id": 1}),
    "convbert": Case("convbert", BERT | {"embedding_size": 32, "conv_kernel_size": 3}, 0),
    "data2vec-text": Case("data2vec-text", BERT | {"pad_token_id": 1}),
    "deberta": Case("deberta", BERT | DISENTANGLED, 0),
    "deberta-v2": Case(
        "deberta-v2",
        BERT | DISENTANGLED | {"position_buckets": 16, "norm_rel_ebd": "layer_norm"},
        0,
    ),
    "electra": Case("electra", BERT | {"embedding_size": 16}),
    "esm, absolute": Case("esm", ESM | {"position_embedding_type": "absolute"}),
    "esm, rotary": Case("esm", ESM | {"position_embedding_type": "rotary"}, 0),
    "flaubert": Case("flaubert", XLM),
    "ibert": Case("ibert", BERT | {"pad_token_id": 1}),
    "megatron-bert": Case("megatron-bert", BERT),
    "mobilebert": Case(
        "mobilebert",
        BERT | {"embedding_size": 16, "intra_bottleneck_size": 16, "num_feedforward_networks": 2},
        gelus=0,
        norms=0,
        gain=0.3,
    ),
    "modernbert": Case(
        "modernbert",
        BERT
        | {"local_attention": 16, "pad_token_id": 0, "cls_token_id": 1, "sep_token_id": 2}
        | {"bos_token_id": 1, "eos_token_id": 2},
        0,
    ),
    "mpnet": Case("mpnet", BERT | {"pad_token_id": 1}),
    "rembert": Case("rembert", BERT | {"input_embedding_size": 16}),
    "roformer": Case("roformer", BERT | {"embedding_size": 32}, 0),
    "splinter": Case("splinter", BERT),
    # its Linears are grouped Convs, which stay float
    "squeezebert": Case("squeezebert", BERT | {"embedding_size": 32}, 0, linears=0),
    "xlm": Case("xlm", XLM),
}


@dataclasses.dataclass(frozen=True)
class Made:
    """A case, its torch module, its folder and its canonical graph."""

    name: str
    case: Case
    module: Any
    folder: Path
    source: read_model.Source
    nodes: int
    model: Any


@pytest.fixture(scope="module", params=CASES)
def made(
    request: pytest.FixtureRequest,
    tmp_path_factory: pytest.TempPathFactory,
    randomise: Callable[..., Any],
    recognise: Callable[..., Any],
) -> Made:
    """Save a random checkpoint, export it, canonicalise the graph."""
    case = CASES[request.param]
    config = transformers.AutoConfig.for_model(case.model_type, **case.config)
    module = randomise(transformers.AutoModel.from_config(config), case.gain)
    folder = tmp_path_factory.mktemp("checkpoint")
    module.save_pretrained(folder, safe_serialization=True)
    source = read_model.find_source(folder)
    exported = read_model.export(source)
    model = recognise(exported)
    return Made(request.param, case, module, folder, source, len(exported.graph), model)


def test_the_route_is_optimum(made: Made) -> None:
    """An architecture that the native exporter does not know goes through optimum."""
    assert made.source.route == "optimum"


def test_the_canonical_graph_computes_what_torch_does(
    made: Made, feed: Callable[..., Any], answer: Any, ask: Any, same: Callable[..., None]
) -> None:
    """Within 1e-4 of the states' size, from one token to more than the probe ever saw."""
    run = answer(made.model)
    names = [value.name for value in made.model.graph.inputs]
    for size in SIZES:
        inputs = feed(*size, names=names, pad=made.module.config.pad_token_id or 0)
        same(run(inputs)[0], ask(made.module, inputs), inputs, 1e-4)


def test_what_is_plain_is_recognised(made: Made) -> None:
    """One Attention a layer, one Gelu, two LayerNormalizations; nothing of their parts is left."""
    found = op_histogram(made.model.graph)
    assert found.get("Attention", 0) == made.case.attentions
    assert found.get("LayerNormalization", 0) >= made.case.norms
    assert found.get("Gelu", 0) == made.case.gelus
    assert ("Softmax" in found) == (made.case.attentions == 0)
    assert not {"Erf", "Tanh", "ReduceMean", "Gemm", "Identity", "Dropout"} & set(found)


def test_int8_for_x86_64_runs(
    made: Made, tmp_path: Path, rows: list[dict[str, Any]], describe: Callable[..., dict[str, Any]]
) -> None:
    """Calibrated on .npz inputs and lowered, the artifact runs and answers as the float model."""
    random = np.random.default_rng(0)
    shape = (CALIBRATION + GOLDEN, TOKENS)
    arrays = {
        "input_ids": random.integers(6, WORDS, shape),
        "attention_mask": np.ones(shape, np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    names = [value.name for value in made.model.graph.inputs]
    np.savez(tmp_path / "data.npz", **{name: arrays[name] for name in names})
    calibration = CalibrationTable("data.npz", CALIBRATION)
    recipe = Recipe(calibration=calibration, folder=tmp_path)
    prepared = pipeline.prepare(made.source, recipe, pipeline.Trace())
    lowered = pipeline.lower(prepared.model, prepared.plan, target.load("x86-64"))
    (name, *_) = onnxruntime.write(lowered, tmp_path, {})
    run = onnxruntime.runner(tmp_path / name)
    golden = prepared.data.golden
    answers = [run(feed) for feed in golden]
    found = accuracy.compare("cosine", answers, prepared.expected, golden)
    rows.append(describe(made.name, prepared, lowered))
    int8 = op_histogram(lowered.graph).get("com.microsoft.MatMulIntegerToFloat", 0)
    assert int8 >= made.case.linears
    assert found.samples == GOLDEN
    assert found.mean >= COSINE

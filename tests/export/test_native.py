"""The native exporter against the encoders of the papers, written again here in numpy alone."""

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file

from edgecompile.data.limits import longest_sequence
from edgecompile.errors import ModelError
from edgecompile.export import native
from edgecompile.export.checkpoint import read_config
from edgecompile.pipeline import lower
from edgecompile.plan import FLOAT
from edgecompile.session import session
from edgecompile.target import REFERENCE

Array = npt.NDArray[Any]
Tensors = Mapping[str, Array]
Checkpoint = Callable[..., Path]
Run = Callable[..., list[Array]]
Rewrite = Callable[..., ir.Model]
Compute = Callable[[ir.Model, Mapping[str, Array]], Array]

FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta")
LENGTHS = (7, 3, 5)
"""Tokens of each sequence of the batch; the rest is padding."""


# ------------------------------------------------------------------ the encoder, in numpy


def gelu(x: Array) -> Array:
    """X times the normal distribution's cumulative function (Hendrycks and Gimpel 2016)."""
    return x * 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


def gelu_tanh(x: Array) -> Array:
    """Its approximation by tanh (the same paper)."""
    return 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def relu(x: Array) -> Array:
    """Cut below zero."""
    return np.maximum(x, 0)


ACTIVATIONS = {"gelu": gelu, "gelu_new": gelu_tanh, "gelu_pytorch_tanh": gelu_tanh, "relu": relu}


def dense(w: Tensors, name: str, x: Array) -> Array:
    """Multiply by torch's [out, in] weight and add its bias."""
    return np.einsum("...i,oi->...o", x, w[f"{name}.weight"]) + w[f"{name}.bias"]


def norm(w: Tensors, name: str, x: Array, epsilon: float) -> Array:
    """LayerNorm over the last axis (Ba et al. 2016)."""
    deviation = x - x.mean(-1, keepdims=True)
    variance = (deviation**2).mean(-1, keepdims=True)
    return deviation / np.sqrt(variance + epsilon) * w[f"{name}.weight"] + w[f"{name}.bias"]


def mix(q: Array, k: Array, v: Array, valid: Array, heads: int) -> Array:
    """Attend head by head, query by query, over the tokens that are valid."""
    y = np.zeros_like(q)
    size = q.shape[-1] // heads
    for b in range(len(q)):
        keys = np.flatnonzero(valid[b])
        for head in range(heads):
            part = slice(head * size, (head + 1) * size)
            for s in range(q.shape[1]):
                scores = k[b, keys, part] @ q[b, s, part] / math.sqrt(size)
                p = np.exp(scores - scores.max())
                y[b, s, part] = (p / p.sum()) @ v[b, keys, part]
    return y


def encode(w: Tensors, config: Mapping[str, Any], feed: Tensors) -> Array:
    """Return the last hidden state of BERT, DistilBERT or RoBERTa in float64."""
    ids, valid = feed["input_ids"], feed["attention_mask"]
    short = config["model_type"] == "distilbert"
    epsilon = config.get("layer_norm_eps", 1e-12)
    positions = np.broadcast_to(np.arange(ids.shape[1]), ids.shape)
    if "roberta" in config["model_type"]:
        pad = config["pad_token_id"]
        positions = np.array(
            [[pad if t == pad else pad + np.sum(row[: i + 1] != pad) for i, t in enumerate(row)]
             for row in ids]
        )  # fmt: skip
    x = w["embeddings.word_embeddings.weight"][ids]
    x = x + w["embeddings.position_embeddings.weight"][positions]
    if not short:
        types = feed.get("token_type_ids", np.zeros_like(ids))
        x = x + w["embeddings.token_type_embeddings.weight"][types]
    x = norm(w, "embeddings.LayerNorm", x, epsilon)
    layer = distilbert_layer if short else bert_layer
    for number in range(config["n_layers" if short else "num_hidden_layers"]):
        x = layer(w, config, x, valid, number)
    return x


def bert_layer(w: Tensors, config: Mapping[str, Any], x: Array, valid: Array, n: int) -> Array:
    """Post-norm layer of BERT (Devlin et al. 2018)."""
    name, epsilon = f"encoder.layer.{n}", config["layer_norm_eps"]
    q, k, v = (dense(w, f"{name}.attention.self.{p}", x) for p in ("query", "key", "value"))
    y = dense(
        w, f"{name}.attention.output.dense", mix(q, k, v, valid, config["num_attention_heads"])
    )
    x = norm(w, f"{name}.attention.output.LayerNorm", x + y, epsilon)
    y = ACTIVATIONS[config["hidden_act"]](dense(w, f"{name}.intermediate.dense", x))
    return norm(w, f"{name}.output.LayerNorm", x + dense(w, f"{name}.output.dense", y), epsilon)


def distilbert_layer(
    w: Tensors, config: Mapping[str, Any], x: Array, valid: Array, n: int
) -> Array:
    """Layer of DistilBERT (Sanh et al. 2019)."""
    name = f"transformer.layer.{n}"
    q, k, v = (dense(w, f"{name}.attention.{part}_lin", x) for part in "qkv")
    y = dense(w, f"{name}.attention.out_lin", mix(q, k, v, valid, config["n_heads"]))
    x = norm(w, f"{name}.sa_layer_norm", x + y, 1e-12)
    y = ACTIVATIONS[config["activation"]](dense(w, f"{name}.ffn.lin1", x))
    return norm(w, f"{name}.output_layer_norm", x + dense(w, f"{name}.ffn.lin2", y), 1e-12)


def logits(w: Tensors, config: Mapping[str, Any], hidden: Array, *, tokens: bool) -> Array:
    """Return a classifier's output, as transformers' classes compute it."""
    if tokens:
        return dense(w, "classifier", hidden)
    first = hidden[:, 0]
    if config["model_type"] == "bert":
        return dense(w, "classifier", np.tanh(dense(w, "pooler.dense", first)))
    if config["model_type"] == "distilbert":
        return dense(w, "classifier", relu(dense(w, "pre_classifier", first)))
    return dense(w, "classifier.out_proj", np.tanh(dense(w, "classifier.dense", first)))


# ------------------------------------------------------------------ how they are compared


def read(folder: Path) -> tuple[dict[str, Array], dict[str, Any]]:
    """Return a checkpoint's tensors in float64, without prefix, and its config."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    tensors = load_file(folder / "model.safetensors")
    prefixes = ("bert.", "distilbert.", "roberta.")
    names = {name: next((p for p in prefixes if name.startswith(p)), "") for name in tensors}
    return {
        name.removeprefix(names[name]): array.astype(np.float64) for name, array in tensors.items()
    }, config


def feed_for(model: ir.Model, config: Mapping[str, Any], seed: int = 0) -> dict[str, Array]:
    """Return a batch of random tokens of different lengths, padded at the end."""
    random = np.random.default_rng(seed)
    shape = (len(LENGTHS), max(LENGTHS))
    mask = (np.arange(shape[1]) < np.array(LENGTHS)[:, None]).astype(np.int64)
    ids = random.integers(5, config["vocab_size"], shape)
    feed = {
        "input_ids": np.where(mask, ids, config["pad_token_id"]),
        "attention_mask": mask,
        "token_type_ids": random.integers(0, 2, shape),
    }
    return {str(value.name): feed[str(value.name)] for value in model.graph.inputs}


def exported(folder: Path) -> ir.Model:
    """Export a directory."""
    return native.export(folder, read_config(folder))


@pytest.fixture(scope="session")
def compute(rewrite: Rewrite, run: Run) -> Compute:
    """Return a function (canonical graph, feed) -> its output, lowered and run in float."""

    def answer(model: ir.Model, feed: Mapping[str, Array]) -> Array:
        lowered = rewrite("lower/onnxruntime", model, plan=FLOAT, target=REFERENCE)
        (output,) = run(lowered, feed)
        return output

    return answer


# ------------------------------------------------------------------ parity


@pytest.mark.parametrize("family", FAMILIES)
def test_the_encoder_computes_what_the_paper_says(
    checkpoint: Checkpoint, compute: Compute, family: str
) -> None:
    """The last hidden state of a padded batch is numpy's, padding included."""
    folder = checkpoint(family)
    tensors, config = read(folder)
    model = exported(folder)
    feed = feed_for(model, config)
    hidden = compute(model, feed)
    assert [value.name for value in model.graph.outputs] == ["last_hidden_state"]
    np.testing.assert_allclose(hidden, encode(tensors, config, feed), rtol=0, atol=1e-5)


@pytest.mark.parametrize("head", ["sequence", "token"])
@pytest.mark.parametrize("family", FAMILIES)
def test_classifiers_compute_what_transformers_does(
    checkpoint: Checkpoint, compute: Compute, family: str, head: str
) -> None:
    """Logits of a sequence or of its tokens are numpy's; the encoder stands under a prefix."""
    folder = checkpoint(family, head)
    tensors, config = read(folder)
    model = exported(folder)
    feed = feed_for(model, config)
    answer = compute(model, feed)
    expected = logits(tensors, config, encode(tensors, config, feed), tokens=head == "token")
    assert [value.name for value in model.graph.outputs] == ["logits"]
    np.testing.assert_allclose(answer, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("normalise", [True, False])
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_sentence_embeddings_are_pooled(
    checkpoint: Checkpoint, compute: Compute, pooling: str, *, normalise: bool
) -> None:
    """Padding takes no part in the mean; a normalised embedding has length 1."""
    folder = checkpoint("bert", sentence_transformers=True, pooling=pooling, normalise=normalise)
    tensors, config = read(folder)
    model = exported(folder)
    feed = feed_for(model, config)
    hidden = encode(tensors, config, feed)
    if pooling == "cls":
        expected = hidden[:, 0]
    else:
        pairs = zip(hidden, LENGTHS, strict=True)
        expected = np.array([row[:length].mean(axis=0) for row, length in pairs])
    if normalise:
        expected = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    embedding = compute(model, feed)
    assert [value.name for value in model.graph.outputs] == ["sentence_embedding"]
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("activation", sorted(ACTIVATIONS))
@pytest.mark.parametrize(("family", "key"), [("bert", "hidden_act"), ("distilbert", "activation")])
def test_the_activation_of_config_json_is_written(
    checkpoint: Checkpoint, compute: Compute, family: str, key: str, activation: str
) -> None:
    """Each activation that the exporter knows is the one that is computed."""
    folder = checkpoint(family, **{key: activation})
    tensors, config = read(folder)
    model = exported(folder)
    feed = feed_for(model, config)
    expected = encode(tensors, config, feed)
    np.testing.assert_allclose(compute(model, feed), expected, rtol=0, atol=1e-5)


def test_the_epsilon_of_config_json_is_used(checkpoint: Checkpoint, compute: Compute) -> None:
    """A large epsilon shows in the result."""
    folder = checkpoint("bert", layer_norm_eps=0.3)
    tensors, config = read(folder)
    model = exported(folder)
    feed = feed_for(model, config)
    expected = encode(tensors, config, feed)
    np.testing.assert_allclose(compute(model, feed), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES)
def test_without_an_epsilon_it_is_that_of_transformers(checkpoint: Checkpoint, family: str) -> None:
    """A config.json that leaves the default out means 1e-12, which DistilBERT cannot change."""
    folder = checkpoint(family)
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    config.pop("layer_norm_eps", None)
    path.write_text(json.dumps(config), encoding="utf-8")
    norms = [n for n in exported(folder).graph if n.op_type == "LayerNormalization"]
    found = [node.attributes["epsilon"].as_float() for node in norms]
    assert found == pytest.approx([1e-12] * 5)


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_roberta_positions_count_from_the_padding_id(
    checkpoint: Checkpoint, compute: Compute, family: str
) -> None:
    """Padding in front or in between shifts nothing: valid tokens count on."""
    folder = checkpoint(family)
    tensors, config = read(folder)
    ids = np.array([[1, 1, 9, 8, 7, 6], [9, 1, 8, 1, 7, 6], [9, 8, 7, 6, 1, 1]])
    feed = {"input_ids": ids, "attention_mask": (ids != 1).astype(np.int64)}
    hidden = compute(exported(folder), feed)
    np.testing.assert_allclose(hidden, encode(tensors, config, feed), rtol=0, atol=1e-5)
    np.testing.assert_allclose(hidden[0, 2:], hidden[2, :4], rtol=0, atol=1e-5)


def test_a_prefix_without_a_head_is_found(checkpoint: Checkpoint, compute: Compute) -> None:
    """A bare encoder saved from a larger model keeps its prefix: it gives the same answers."""
    plain, prefixed = checkpoint("bert", name="plain"), checkpoint("bert", name="prefixed")
    path = prefixed / "model.safetensors"
    save_file({f"bert.{name}": array for name, array in load_file(path).items()}, path)
    models = [exported(plain), exported(prefixed)]
    feed = feed_for(models[0], read(plain)[1])
    one, two = (compute(model, feed) for model in models)
    np.testing.assert_array_equal(one, two)


def test_half_precision_weights_give_a_float_graph(
    checkpoint: Checkpoint, compute: Compute
) -> None:
    """A checkpoint in float16 is exported in float32 and computes what its weights say."""
    folder = checkpoint("distilbert")
    path = folder / "model.safetensors"
    save_file({name: a.astype(np.float16) for name, a in load_file(path).items()}, path)
    tensors, config = read(folder)
    model = exported(folder)
    feed = feed_for(model, config)
    expected = encode(tensors, config, feed)
    np.testing.assert_allclose(compute(model, feed), expected, rtol=0, atol=1e-5)


def test_any_batch_and_length_runs(checkpoint: Checkpoint, rewrite: Rewrite, run: Run) -> None:
    """One graph takes every batch and every length up to the position table's."""
    folder = checkpoint("distilbert", n_layers=1)
    tensors, config = read(folder)
    model = rewrite("lower/onnxruntime", exported(folder), plan=FLOAT, target=REFERENCE)

    @given(batch=st.integers(1, 3), sequence=st.integers(1, 64), seed=st.integers(0, 99))
    def check(batch: int, sequence: int, seed: int) -> None:
        random = np.random.default_rng(seed)
        mask = random.integers(0, 2, (batch, sequence))
        mask[:, 0] = 1
        ids = random.integers(0, config["vocab_size"], (batch, sequence))
        feed = {"input_ids": ids, "attention_mask": mask}
        expected = encode(tensors, config, feed)
        np.testing.assert_allclose(run(model, feed)[0], expected, rtol=0, atol=1e-5)

    check()


def test_minilm_computes_what_the_paper_says(minilm: Path) -> None:
    """The real MiniLM gives numpy's embedding of a sentence."""
    tensors, config = read(minilm)
    ids = np.array([[101, 7592, 2088, 1012, 102]])
    feed = {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }
    expected = encode(tensors, config, feed).mean(axis=1)
    expected /= np.linalg.norm(expected)
    embedding = session(lower(exported(minilm), FLOAT, REFERENCE)).run(None, feed)[0]
    np.testing.assert_allclose(embedding, expected, rtol=0, atol=1e-5)


# ------------------------------------------------------------------ the graph


@pytest.mark.parametrize("family", FAMILIES)
def test_the_graph_is_canonical(
    checkpoint: Checkpoint, counts: Callable[[ir.Model], dict[str, int]], family: str
) -> None:
    """Each layer is one Attention, one Gelu, two LayerNormalizations and six Linears."""
    found = counts(exported(checkpoint(family)))
    assert {op: found.get(op) for op in ("Attention", "Gelu", "LayerNormalization", "MatMul")} == {
        "Attention": 2, "Gelu": 2, "LayerNormalization": 5, "MatMul": 12,
    }  # fmt: skip


def test_inputs_are_in_transformers_order(checkpoint: Checkpoint) -> None:
    """BERT takes three inputs, DistilBERT and RoBERTa two; batch and sequence are dynamic."""
    wanted = {"bert": ["input_ids", "attention_mask", "token_type_ids"]}
    for family in FAMILIES:
        inputs = exported(checkpoint(family, name=family)).graph.inputs
        assert [v.name for v in inputs] == wanted.get(family, ["input_ids", "attention_mask"])
        assert {str(v.shape) for v in inputs} == {"[batch,sequence]"}


def test_the_same_checkpoint_gives_the_same_bytes(checkpoint: Checkpoint) -> None:
    """Two exports are equal to the last bit."""
    folder = checkpoint("roberta", "sequence")
    one, two = (ir.to_proto(exported(folder)).SerializeToString() for _ in range(2))
    assert one == two


@pytest.mark.parametrize("limit", [512, 16])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_position_table_limits_the_sequence(
    checkpoint: Checkpoint, family: str, limit: int
) -> None:
    """RoBERTa's positions start behind the padding id: its table of 64 holds 62 tokens."""
    held = 62 if "roberta" in family else 64
    assert longest_sequence(exported(checkpoint(family)), limit) == min(limit, held)


def test_labels_are_counted_as_transformers_does(checkpoint: Checkpoint) -> None:
    """id2label says how many; without it num_labels; without both, two."""
    folder = checkpoint("bert", "token")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    del config["id2label"]
    path.write_text(json.dumps(config | {"num_labels": 3}))
    assert str(exported(folder).graph.outputs[0].shape) == "[batch,sequence,3]"
    path.write_text(json.dumps(config))
    with pytest.raises(ModelError, match=r"has shape \[3, 32\] but config.json implies \[2, 32\]"):
        exported(folder)


# ------------------------------------------------------------------ what it refuses


@pytest.mark.parametrize(("family", "key"), [("bert", "hidden_act"), ("distilbert", "activation")])
def test_an_unknown_activation_is_named(checkpoint: Checkpoint, family: str, key: str) -> None:
    """The reason names the key, the value and the known ones; optimum may still take it."""
    folder = checkpoint(family, **{key: "quick_gelu"})
    assert native.why_not(read_config(folder)) == (
        f"{key} 'quick_gelu' is not exported without torch"
        " (known: gelu, gelu_new, gelu_pytorch_tanh, relu)"
    )


def test_heads_must_divide_the_width(checkpoint: Checkpoint) -> None:
    """A number of heads that the width is no multiple of is refused."""
    folder = checkpoint("bert", num_attention_heads=5)
    with pytest.raises(ModelError) as error:
        exported(folder)
    assert str(error.value) == f"{folder}/config.json: 5 heads do not divide a width of 32"


def test_a_config_of_another_size_is_told(checkpoint: Checkpoint) -> None:
    """config.json of one checkpoint with the weights of another names the first tensor."""
    folder = checkpoint("bert")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    rows = config["vocab_size"]
    path.write_text(json.dumps(config | {"hidden_size": 64}))
    with pytest.raises(ModelError) as error:
        exported(folder)
    assert str(error.value) == (
        f"{folder}/model.safetensors: tensor 'embeddings.word_embeddings.weight' has shape"
        f" [{rows}, 32] but config.json implies [{rows}, 64]: take both from the same checkpoint"
    )


def test_a_deeper_config_is_told(checkpoint: Checkpoint) -> None:
    """More layers in config.json than in the weights names the first that is missing."""
    folder = checkpoint("bert")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"num_hidden_layers": 3}))
    with pytest.raises(ModelError) as error:
        exported(folder)
    assert str(error.value) == (
        f"{folder}: tensor 'encoder.layer.2.attention.self.query.weight' is missing from the"
        " weights; config.json says BertModel: take config.json and weights from the same"
        " checkpoint"
    )


def test_a_shallower_config_is_told(checkpoint: Checkpoint) -> None:
    """Fewer layers in config.json than in the weights would give another model: it is refused."""
    folder = checkpoint("bert")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps(config | {"num_hidden_layers": 1}))
    with pytest.raises(ModelError) as error:
        exported(folder)
    assert str(error.value) == (
        f"{folder}/model.safetensors: holds tensor"
        " 'encoder.layer.1.attention.output.LayerNorm.bias', which config.json does not account"
        " for: take both from the same checkpoint"
    )


def test_a_head_without_its_tensors_is_told(checkpoint: Checkpoint) -> None:
    """An encoder whose config.json claims a classifier is refused, not given random weights."""
    folder = checkpoint("distilbert")
    path = folder / "config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    claimed = {"architectures": ["DistilBertForSequenceClassification"]}
    path.write_text(json.dumps(config | claimed))
    with pytest.raises(ModelError) as error:
        exported(folder)
    assert str(error.value) == (
        f"{folder}: tensor 'pre_classifier.weight' is missing from the weights; config.json says"
        " DistilBertForSequenceClassification: take config.json and weights from the same"
        " checkpoint"
    )


# ------------------------------------------------------------------ what it knows


@pytest.mark.parametrize(
    ("architecture", "head"),
    [
        ("BertModel", "none"),
        ("", "none"),
        ("BertForSequenceClassification", "sequence"),
        ("BertForTokenClassification", "token"),
        ("BertForQuestionAnswering", None),
        ("BertForMaskedLM", None),
    ],
)
def test_the_head_is_read_from_the_class(
    checkpoint: Checkpoint, architecture: str, head: str | None
) -> None:
    """A class that ends in an unknown task is not exported natively."""
    config = read_config(checkpoint("bert", architectures=[architecture] if architecture else []))
    assert native.head_of(config) == head
    assert (native.why_not(config) is None) == (head is not None)


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions_are_not_known(checkpoint: Checkpoint, kind: str) -> None:
    """BERT with relative positions is another architecture, whatever its model_type."""
    assert native.why_not(read_config(checkpoint("bert", position_embedding_type=kind)))


def test_a_decoder_is_not_known(checkpoint: Checkpoint) -> None:
    """BERT as a decoder attends to the past alone: writing it as an encoder would be wrong."""
    assert native.why_not(read_config(checkpoint("bert", is_decoder=True)))


def test_a_language_model_head_is_not_a_bare_encoder(checkpoint: Checkpoint) -> None:
    """BertLMHeadModel ends in Model, but its output is logits over the vocabulary."""
    assert native.why_not(read_config(checkpoint("bert", architectures=["BertLMHeadModel"])))


def test_families_are_the_files_of_the_folder() -> None:
    """A new architecture is one new file."""
    folder = Path(native.architectures.__path__[0])
    files = {path.stem.replace("_", "-") for path in folder.glob("[a-z]*.py")}
    assert set(native.families()) == files
    assert files >= set(FAMILIES)

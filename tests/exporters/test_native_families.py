"""The native exporter against transformers itself, on small random checkpoints."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from edgecompile.export import read_model  # noqa: E402 - after the skip
from edgecompile.export.checkpoint import read_config  # noqa: E402
from edgecompile.graph import op_histogram  # noqa: E402
from edgecompile.probe import take_probe  # noqa: E402

pytestmark = pytest.mark.exporters

SIZES = ((1, 1), (1, 6), (3, 17), (2, 64))
FAMILIES = ("bert", "distilbert", "roberta", "xlm-roberta")
HEADS = {
    "base": transformers.AutoModel,
    "sequence": transformers.AutoModelForSequenceClassification,
    "token": transformers.AutoModelForTokenClassification,
}
SHARED = {"vocab_size": 120, "max_position_embeddings": 80}
LONG = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
}
SHORT = {"dim": 32, "n_layers": 2, "n_heads": 4, "hidden_dim": 64}

Save = Callable[..., tuple[Any, Path]]


@pytest.fixture
def save(tmp_path: Path, randomise: Callable[..., Any]) -> Save:
    """Return a factory of checkpoints: family, head, activation -> torch module and folder."""

    def make(family: str, head: str = "base", activation: str = "gelu", **more: Any) -> Any:
        distil = family == "distilbert"
        values = SHARED | (SHORT if distil else LONG) | more
        values["activation" if distil else "hidden_act"] = activation
        config = transformers.AutoConfig.for_model(family, **values)
        module = randomise(HEADS[head].from_config(config))
        module.save_pretrained(tmp_path / family, safe_serialization=True)
        return module, tmp_path / family

    return make


@pytest.fixture
def check(
    feed: Callable[..., Any],
    answer: Callable[..., Any],
    ask: Callable[..., Any],
    same: Callable[..., None],
) -> Callable[[Any, Path], None]:
    """Return a check that the native export computes what torch does, padding or not."""

    def run(module: Any, folder: Path) -> None:
        source = read_model.find_source(folder)
        assert source.route == "native"
        model = read_model.export(source)
        native = answer(model)
        names = [value.name for value in model.graph.inputs]
        for size in SIZES:
            inputs = feed(*size, names=names, pad=module.config.pad_token_id)
            same(native(inputs)[0], ask(module, inputs), inputs, 1e-5)

    return run


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_every_head_of_every_family_computes_what_torch_does(
    save: Save, check: Callable[..., None], family: str, head: str
) -> None:
    """States and logits are equal for one token and for many, with and without padding."""
    check(*save(family, head))


@pytest.mark.parametrize("activation", ["gelu_new", "gelu_pytorch_tanh", "relu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_every_activation_computes_what_torch_does(
    save: Save, check: Callable[..., None], family: str, activation: str
) -> None:
    """The tanh Gelus and ReLU are written as themselves, not as the erf Gelu."""
    check(*save(family, activation=activation))


@pytest.mark.parametrize("labels", [1, 5])
@pytest.mark.parametrize("head", ["sequence", "token"])
def test_the_number_of_labels_is_the_checkpoints(
    save: Save, check: Callable[..., None], head: str, labels: int
) -> None:
    """One label (a regression) or several: the last axis is theirs."""
    check(*save("bert", head, num_labels=labels))


def test_one_head_and_unequal_epsilon(save: Save, check: Callable[..., None]) -> None:
    """The number of heads and layer_norm_eps come from config.json."""
    check(*save("roberta", num_attention_heads=1, layer_norm_eps=0.1))


@pytest.mark.parametrize("family", FAMILIES)
def test_optimum_gives_the_same_graph(
    save: Save, recognise: Callable[..., Any], family: str
) -> None:
    """What optimum exports has, once canonical, the native graph's heavy operators."""
    pytest.importorskip("optimum.exporters.onnx")
    _, folder = save(family)
    source = read_model.Source(folder, "optimum", read_config(folder))
    model = read_model.export(source)
    assert take_probe(model).far
    native = op_histogram(read_model.export(read_model.find_source(folder)).graph)
    foreign = op_histogram(recognise(model).graph)
    for op_type in ("Attention", "Gelu", "LayerNormalization", "MatMul", "Softmax", "Slice"):
        assert foreign.get(op_type) == native.get(op_type), op_type

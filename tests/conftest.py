"""Fixtures that test files share: tiny checkpoints, hand-written graphs, how to run them."""

import json
import os
import re
import shutil
import string
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import numpy.typing as npt
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
from onnx import numpy_helper, parser
from safetensors.numpy import save_file
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

import edgecompile
from edgecompile import files, passes
from edgecompile.evaluate import emulate_avx2
from edgecompile.graph import op_histogram
from edgecompile.probe import take_probe
from edgecompile.report.html import page

PACKAGES = page.PACKAGES

Array = npt.NDArray[Any]
Feed = Mapping[str, Array]

# Every build of a test makes all of its stages: what it sees is no earlier build's.
os.environ["EDGECOMPILE_STAGES"] = "off"

# The same examples in every run, and nothing written to the working directory.
hypothesis.settings.register_profile(
    "edgecompile", deadline=None, derandomize=True, database=None, max_examples=10
)
hypothesis.settings.load_profile("edgecompile")

HIDDEN, LAYERS, HEADS, WIDE, POSITIONS, LABELS = 32, 2, 4, 64, 64, 3
SPREAD = 0.15
"""Standard deviation of random weights: activations keep their size from layer to layer."""

CLASSES = {"bert": "Bert", "distilbert": "DistilBert", "roberta": "Roberta"}
CLASSES["xlm-roberta"] = "XLMRoberta"
ENDS = {None: "Model", "sequence": "ForSequenceClassification", "token": "ForTokenClassification"}
# fmt: off
WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "with", "be", "on", "by",
         "this", "an", "are", "or", "at", "from", "which", "not", "have", "one", "all", "if")
# fmt: on


@pytest.fixture(autouse=True)
def quick(
    request: pytest.FixtureRequest,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """Hide qemu from builds, which would emulate each: a CPU without VNNI, a board's.

    Slow tests find it.
    """
    if request.node.get_closest_marker("slow") is None:
        monkeypatch.setattr(emulate_avx2, "find_qemu", lambda: None)
        empty = tmp_path_factory.getbasetemp() / "no-cache"
        monkeypatch.setenv("EDGECOMPILE_CACHE", str(empty))


@pytest.fixture(autouse=True)
def no_reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Hide the packages of reports from builds: the charts of each would take most of its time."""
    monkeypatch.setattr(page, "PACKAGES", ("no_such_package",))


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let builds find the packages of reports."""
    monkeypatch.setattr(page, "PACKAGES", PACKAGES)


# ------------------------------------------------------------------ models on disk


@pytest.fixture(scope="session")
def minilm() -> Path:
    """Return the real all-MiniLM-L6-v2, or skip where it was not fetched."""
    path = Path(__file__).parents[1] / "models" / "all-MiniLM-L6-v2"
    if not (path / "config.json").is_file():
        pytest.skip(f"{path} is missing: make {path.parent.name}/{path.name}")
    return path


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """Return a factory of tiny random Hugging Face directories.

    `checkpoint(family, head, sentence_transformers=..., pooling=..., normalise=..., name=...)`
    writes config.json, model.safetensors and tokenizer.json to tmp_path / name, and modules.json
    with its pooling for a sentence-transformers model. Further keywords change config.json, and
    the weights with it. The same call gives the same bytes.
    """
    return _checkpoints_in(tmp_path)


def _checkpoints_in(place: Path) -> Callable[..., Path]:
    def make(
        family: str = "bert",
        head: str | None = None,
        *,
        sentence_transformers: bool = False,
        pooling: str = "mean",
        normalise: bool = True,
        name: str = "model",
        **changes: Any,
    ) -> Path:
        folder = place / name
        folder.mkdir()
        vocabulary = _vocabulary(family)
        config = _config(family, head, len(vocabulary)) | changes
        (folder / "config.json").write_text(json.dumps(config, indent=2), encoding="utf-8")
        random = np.random.default_rng(0)
        weights = {key: _weight(random, key, shape) for key, shape in _shapes(family, head, config)}
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        _tokenizer(vocabulary).save(str(folder / "tokenizer.json"))
        if sentence_transformers:
            _write_modules(folder, pooling, normalise=normalise)
        return folder

    return make


def _config(family: str, head: str | None, vocabulary: int) -> dict[str, Any]:
    """Return config.json as transformers writes it, as far as it matters."""
    shared: dict[str, Any] = {
        "architectures": [CLASSES[family] + ENDS[head]],
        "model_type": family,
        "vocab_size": vocabulary,
        "max_position_embeddings": POSITIONS,
        "pad_token_id": 1 if "roberta" in family else 0,
    }
    if head is not None:
        shared["id2label"] = {str(i): f"LABEL_{i}" for i in range(LABELS)}
    if family == "distilbert":
        return shared | {
            "activation": "gelu",
            "dim": HIDDEN,
            "hidden_dim": WIDE,
            "n_heads": HEADS,
            "n_layers": LAYERS,
        }
    return shared | {
        "hidden_act": "gelu",
        "hidden_size": HIDDEN,
        "intermediate_size": WIDE,
        "layer_norm_eps": 1e-12 if family == "bert" else 1e-5,
        "num_attention_heads": HEADS,
        "num_hidden_layers": LAYERS,
        "type_vocab_size": 2 if family == "bert" else 1,
    }


def _shapes(
    family: str, head: str | None, config: Mapping[str, Any]
) -> list[tuple[str, tuple[int, ...]]]:
    """Return the tensors that transformers saves for a family, by name."""
    short = family == "distilbert"
    width, wide = (
        config["dim" if short else "hidden_size"],
        config["hidden_dim" if short else "intermediate_size"],
    )
    tables = {"word": config["vocab_size"], "position": config["max_position_embeddings"]}
    if not short:
        tables["token_type"] = config["type_vocab_size"]
    shapes = [(f"embeddings.{k}_embeddings.weight", (rows, width)) for k, rows in tables.items()]
    shapes += _norm("embeddings.LayerNorm", width)
    for number in range(config["n_layers" if short else "num_hidden_layers"]):
        layer = f"transformer.layer.{number}" if short else f"encoder.layer.{number}"
        for part in ("q_lin", "k_lin", "v_lin", "out_lin") if short else (
            "self.query", "self.key", "self.value", "output.dense"
        ):  # fmt: skip
            shapes += _linear(f"{layer}.attention.{part}", width, width)
        linears = ("ffn.lin1", "ffn.lin2")
        linears = linears if short else ("intermediate.dense", "output.dense")
        norms = ("sa_layer_norm", "output_layer_norm")
        norms = norms if short else ("attention.output.LayerNorm", "output.LayerNorm")
        shapes += _norm(f"{layer}.{norms[0]}", width)
        shapes += _linear(f"{layer}.{linears[0]}", width, wide)
        shapes += _linear(f"{layer}.{linears[1]}", wide, width)
        shapes += _norm(f"{layer}.{norms[1]}", width)
    if head is None:
        return shapes
    prefix = "roberta." if "roberta" in family else f"{family}."
    shapes = [(prefix + name, shape) for name, shape in shapes]
    labels = len(config["id2label"])
    return shapes + _head(family, head, width, labels)


def _head(family: str, head: str, width: int, labels: int) -> list[tuple[str, tuple[int, ...]]]:
    if head == "token":
        return _linear("classifier", width, labels)
    if family == "bert":
        return _linear("bert.pooler.dense", width, width) + _linear("classifier", width, labels)
    if family == "distilbert":
        return _linear("pre_classifier", width, width) + _linear("classifier", width, labels)
    return _linear("classifier.dense", width, width) + _linear("classifier.out_proj", width, labels)


def _linear(name: str, width_in: int, width_out: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{name}.weight", (width_out, width_in)), (f"{name}.bias", (width_out,))]


def _norm(name: str, width: int) -> list[tuple[str, tuple[int, ...]]]:
    return [(f"{name}.weight", (width,)), (f"{name}.bias", (width,))]


def _weight(random: np.random.Generator, name: str, shape: tuple[int, ...]) -> Array:
    scales = "orm.weight" in name  # LayerNorm, layer_norm
    return (random.normal(size=shape) * SPREAD + scales).astype(np.float32)


def _write_modules(folder: Path, pooling: str, *, normalise: bool) -> None:
    kinds = ["Transformer", "Pooling", *(["Normalize"] if normalise else [])]
    modules = [
        {
            "idx": i,
            "name": str(i),
            "path": f"{i}_{kind}" if i else "",
            "type": f"sentence_transformers.models.{kind}",
        }
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules), encoding="utf-8")
    modes = {
        f"pooling_mode_{mode}": mode.startswith(pooling)
        for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    }
    modes["pooling_mode_mean_sqrt_len_tokens"] = False
    (folder / "1_Pooling").mkdir()
    values = {"word_embedding_dimension": HIDDEN, **modes}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps(values), encoding="utf-8")


def _vocabulary(family: str) -> list[str]:
    """Return some 130 tokens: special ones, characters, parts of words, frequent words."""
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    if "roberta" in family:
        special = ["[CLS]", "[PAD]", "[SEP]", "[UNK]", "[MASK]"]
    letters = list(string.ascii_lowercase)
    parts = [f"##{letter}" for letter in letters]
    return [*special, *letters, *parts, *string.digits, *".,:;()'-!?", *WORDS]


def _tokenizer(vocabulary: list[str]) -> Tokenizer:
    ids = {token: number for number, token in enumerate(vocabulary)}
    tokenizer = Tokenizer(models.WordPiece(ids, unk_token="[UNK]"))  # noqa: S106 - no password
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(token, ids[token]) for token in ("[CLS]", "[SEP]")],
    )
    return tokenizer


# ------------------------------------------------------------------ a bundle on disk

BUDGET = """
[profile]
sequence = [8, 16]
repeats = 9
[gate]
cosine_mean = 0.9
[budget]
size_mb = 1.0
cosine_min = 0.5
"""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the bundle of a tiny model for x86-64, and what it was built from.

    model/, edgecompile.toml (BUDGET) and model-x86-64/: built once, not to be written to.
    """
    place = tmp_path_factory.mktemp("built")
    (place / "edgecompile.toml").write_text(BUDGET)
    model = _checkpoints_in(place)(sentence_transformers=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(emulate_avx2, "find_qemu", lambda: None)
        recipe = place / "edgecompile.toml"
        edgecompile.build(model, targets=["x86-64"], recipe=recipe, output=place)
    return place


@pytest.fixture
def bundle(built: Path, tmp_path: Path) -> Path:
    """Return a copy of the tiny bundle that a test may change."""
    return Path(shutil.copytree(built / "model-x86-64", tmp_path / "model-x86-64"))


@pytest.fixture
def reseal() -> Callable[..., None]:
    """Return a function that changes a bundle's JSON as a build might have, hashes and all.

    `reseal(folder, manifest=..., profile=...)`: each is a function that changes a table in place.
    """

    def apply(folder: Path, **changes: Callable[[dict[str, Any]], object]) -> None:
        tables = {
            n: json.loads((folder / f"{n}.json").read_text()) for n in ("profile", "manifest")
        }
        for name, change in changes.items():
            change(tables[name])
        (folder / "profile.json").write_text(json.dumps(tables["profile"]))
        hashes = tables["manifest"].get("files")
        for name in hashes if isinstance(hashes, dict) else ():
            if (folder / name).is_file():
                hashes[name] = files.sha256(folder / name)
        (folder / "manifest.json").write_text(json.dumps(tables["manifest"]))

    return apply


# ------------------------------------------------------------------ graphs by hand


@pytest.fixture(scope="session")
def graph() -> Callable[..., ir.Model]:
    """Return a parser of graphs in ONNX's text form.

    `graph("(float[b,s,8] x) => (float[b,s,8] y) { y = Mul(x, two) }", two=np.float32(2))`: the
    keywords that the text mentions become initializers; a node is named after its first output.
    """

    def parse(body: str, *, opset: int = 23, **arrays: Any) -> ir.Model:
        header = f'<ir_version: 8, opset_import: ["": {opset}, "com.microsoft": 1]>'
        proto = parser.parse_model(f"{header} model {body}")
        for node in proto.graph.node:
            node.name = node.output[0]
        for name, array in arrays.items():
            if re.search(rf"\b{name}\b", body):
                proto.graph.initializer.append(numpy_helper.from_array(np.asarray(array), name))
        return ir.from_proto(proto)

    return parse


@pytest.fixture(scope="session")
def run() -> Callable[..., list[Array]]:
    """Return a function (model or file, feed) -> outputs, by onnxruntime without optimisation."""

    def execute(model: ir.Model | Path, feed: Feed, *, optimise: bool = False) -> list[Array]:
        options = ort.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = 1
        if not optimise:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        source: str | bytes = str(model)
        if isinstance(model, ir.Model):
            inside = ir.external_data.load_to_model(model.clone())
            source = ir.to_proto(inside).SerializeToString()
        session = ort.InferenceSession(source, options, ["CPUExecutionProvider"])
        return session.run(None, dict(feed))

    return execute


@pytest.fixture(scope="session")
def rewrite() -> Callable[..., ir.Model]:
    """Return a function that runs passes of one stage, as the pipeline does, and checks them.

    `rewrite("lower/onnxruntime", model, "set-opset", target=...)`: needs and promises hold, the
    graph that came in is untouched, and onnx's checker accepts what comes out. Without names, the
    whole stage runs.
    """

    def apply(stage: str, model: ir.Model, *names: str, **context: Any) -> ir.Model:
        chosen = [p for p in passes.passes_of(stage) if not names or p.name in names]
        assert chosen
        assert {p.name for p in chosen} >= set(names)
        untouched = ir.to_proto(model).SerializeToString(deterministic=True)
        after = model
        for _step, after in passes.run(chosen, model, context):  # noqa: B007 - the last one
            pass
        assert ir.to_proto(model).SerializeToString(deterministic=True) == untouched
        onnx.checker.check_model(ir.to_proto(after), full_check=True)
        return after

    return apply


@pytest.fixture(scope="session")
def equal(run: Callable[..., list[Array]], rewrite: Callable[..., ir.Model]) -> Callable[..., None]:
    """Return a check that two graphs give the same outputs for a feed.

    The canonical Attention is written in plain operators first: onnxruntime does not run it.
    """

    def outputs(model: ir.Model, feed: Feed) -> list[Array]:
        attentions = [node for node in model.graph if node.op_type == "Attention"]
        if attentions and all("scale" in n.attributes for n in attentions):
            model = rewrite("lower/exchange", model, "expand-attention")
        return run(model, feed)

    def check(before: ir.Model, after: ir.Model, feed: Feed, *, atol: float = 1e-5) -> None:
        names = [[value.name for value in m.graph.outputs] for m in (before, after)]
        assert names[0] == names[1]
        pairs = zip(names[0], outputs(before, feed), outputs(after, feed), strict=True)
        for name, a, b in pairs:
            assert a.dtype == b.dtype, name
            assert a.shape == b.shape, name
            np.testing.assert_allclose(b, a, rtol=1e-5, atol=atol, err_msg=str(name))

    return check


@pytest.fixture(scope="session")
def canonicalise(
    rewrite: Callable[..., ir.Model], equal: Callable[..., None]
) -> Callable[..., ir.Model]:
    """Return a function that runs one canonicalising pass: it must not change the outputs."""

    def apply(name: str, model: ir.Model, feed: Feed) -> ir.Model:
        after = rewrite("canonicalise", model, name, probe=take_probe(model))
        equal(model, after, feed)
        return after

    return apply


@pytest.fixture(scope="session")
def counts() -> Callable[[ir.Model], dict[str, int]]:
    """Return a function that counts a model's operators by type."""
    return lambda model: op_histogram(model.graph)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    """Start Debian's Chromium, or skip where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("there is no Chromium here: apt-get install chromium")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def random() -> np.random.Generator:
    """Return a random generator with a fixed seed."""
    return np.random.default_rng(0)

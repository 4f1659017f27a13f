"""A vocabulary is cut on the way from model to bundle: table, tokenizer, golden samples, gate."""

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest
from tokenizers import Tokenizer

from edgecompile import files, pipeline
from edgecompile.data.dataset import choose_data, data_dir
from edgecompile.errors import DataError, EdgeCompileError, GateError, UnsupportedError
from edgecompile.export.read_model import export, find_source
from edgecompile.graph import substitute
from edgecompile.inspect_file import inspect_file
from edgecompile.narrow.prune_vocabulary import prune_vocabulary
from edgecompile.parts import Part
from edgecompile.passes import passes_of, run
from edgecompile.recipe import (
    CalibrationTable,
    EvaluateTable,
    GateTable,
    ModelTable,
    ProfileTable,
    PruneTable,
    QuantizeTable,
    Recipe,
)

CORPUS = data_dir() / "golden.jsonl"
FAMILIES = {
    "WordPiece": "bert",
    "BPE of bytes": "roberta",
    "BPE with a suffix": "distilbert",
    "Unigram": "xlm-roberta",
}


def recipe(**tables: Any) -> Recipe:
    """Return a recipe that cuts to the golden texts, which judge too."""
    quick = Recipe(
        profile=ProfileTable(sequence=(8,), repeats=1),
        gate=GateTable(cosine_mean=0.9, agreement=0.5),
        prune=PruneTable(vocabulary=str(CORPUS)),
    )
    return replace(quick, **tables)


def build(model: Path, output: Path, wishes: Recipe) -> pipeline.Bundle:
    """Build for one target, quietly."""
    (bundle,) = pipeline.build(model, ["x86-64"], output, wishes, pipeline.Trace())
    return bundle


@pytest.fixture
def model(checkpoint: Callable[..., Path], trained: Callable[[str], str]) -> Callable[..., Path]:
    """Return a factory of tiny checkpoints with a trained tokenizer of a kind."""

    def make(kind: str = "WordPiece", head: str | None = None, **more: Any) -> Path:
        text = trained(kind)
        size = Tokenizer.from_str(text).get_vocab_size()
        folder = checkpoint(FAMILIES[kind], head, vocab_size=size, **more)
        (folder / "tokenizer.json").write_text(text, encoding="utf-8")
        return folder

    return make


@pytest.mark.parametrize("kind", FAMILIES)
def test_a_bundle_has_the_cut_table_and_its_tokenizer(
    kind: str, model: Callable[..., Path], tmp_path: Path
) -> None:
    """The artifact's rows are the tokenizer's tokens; golden inputs are its ids; hashes tell."""
    folder = model(kind, sentence_transformers=True)
    bundle = build(folder, tmp_path / "dist", recipe())
    table = bundle.manifest["vocabulary"]
    assert table["corpus"] == "golden.jsonl"
    assert table["sha256"] == files.sha256(CORPUS)
    assert bundle.manifest["inputs"]["vocabulary/golden.jsonl"] == table["sha256"]
    assert 0 < table["after"] < table["before"]
    assert (table["golden_outside"], table["golden_left_out"], table["min_count"]) == (0, 0, 1)
    tokenizer = Tokenizer.from_file(str(bundle.folder / "tokenizer.json"))
    assert tokenizer.get_vocab_size() == table["after"]
    rows = {row["name"]: row["shape"][0] for row in inspect_file(bundle.folder)["embeddings"]}
    assert rows["embeddings.word_embeddings.weight_int8"] == table["after"]
    tokenizer.no_padding()
    tokenizer.enable_truncation(64)
    first = json.loads(CORPUS.read_text().splitlines()[0])["text"]
    with np.load(bundle.folder / "golden.npz") as golden:
        ids = golden["000/in/input_ids"][0].tolist()
    expected = tokenizer.encode(first).ids
    assert ids[:-1] == expected[: len(ids) - 1]
    stages = [step["stage"] for step in bundle.manifest["steps"]]
    assert stages.index("prune") < stages.index("quantize")


def test_the_corpus_is_answered_as_before(model: Callable[..., Path], tmp_path: Path) -> None:
    """In float, the artifact gives the dense model's answers; smoke.py checks them anew."""
    wishes = recipe(quantize=QuantizeTable(scheme="none"), gate=GateTable(cosine_mean=0.99999))
    bundle = build(model(), tmp_path / "dist", wishes)
    assert bundle.manifest["accuracy"]["min"] == pytest.approx(1, abs=1e-6)
    smoke = [sys.executable, "-I", bundle.folder / "smoke.py"]
    done = subprocess.run(smoke, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("positions", [False, True])
def test_an_onnx_file_is_cut_too(
    positions: bool,  # noqa: FBT001 - a case
    model: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """A foreign graph, also one that wants position_ids: dense answers come from the file."""
    folder = model(sentence_transformers=True)
    *_, (_, plain) = run(passes_of("lower/exchange"), export(find_source(folder)))
    if positions:
        read_positions(plain)
    ir.save(plain, folder / "plain.onnx")
    bundle = build(folder / "plain.onnx", tmp_path / "dist", recipe())
    table = bundle.manifest["vocabulary"]
    assert table["after"] < table["before"]
    assert bundle.manifest["accuracy"]["mean"] > 0.98
    with np.load(bundle.folder / "golden.npz") as golden:
        assert ("000/in/position_ids" in golden.files) == positions
        assert golden["000/in/input_ids"].max() < table["after"]


def read_positions(model: ir.Model) -> None:
    """Let a BERT look its positions up by an input of their own, as some exporters do."""
    graph = model.graph
    (node,) = (n for n in graph if n.op_type == "Slice" and "position" in str(n.inputs[0].name))
    ids = ir.val("position_ids", ir.DataType.INT64, ["batch", "sequence"])
    graph.inputs.append(ids)
    substitute(graph, [node], [ir.node("Gather", [node.inputs[0], ids], name="positions")])


def test_the_same_build_gives_the_same_bytes(model: Callable[..., Path], tmp_path: Path) -> None:
    """Artifact, golden vectors and tokenizer."""
    folder = model()
    names = ("model.onnx", "golden.npz", "tokenizer.json")
    one, two = (
        build(folder, tmp_path / name, recipe()).manifest["files"] for name in ("one", "two")
    )
    assert [one[name] for name in names] == [two[name] for name in names]


def test_without_a_cut_the_model_s_own_tokenizer_goes_along(
    model: Callable[..., Path], tmp_path: Path
) -> None:
    """Byte for byte; the manifest has no vocabulary."""
    folder = model()
    bundle = build(folder, tmp_path / "dist", recipe(prune=PruneTable()))
    same = (folder / "tokenizer.json").read_bytes()
    assert (bundle.folder / "tokenizer.json").read_bytes() == same
    assert "vocabulary" not in bundle.manifest


def test_a_column_and_rare_tokens(model: Callable[..., Path], tmp_path: Path) -> None:
    """The corpus may be a table; what occurs once may go."""
    lines = [json.loads(line)["text"] for line in CORPUS.read_text().splitlines()]
    rows = "".join(f'"{line.replace(chr(34), chr(34) * 2)}"\tx\n' for line in lines)
    (tmp_path / "corpus.tsv").write_text("words\tother\n" + rows, encoding="utf-8")
    folder = model(sentence_transformers=True)
    table = PruneTable(vocabulary=str(tmp_path / "corpus.tsv"), vocabulary_column="words")
    first, same = (
        pipeline.prepare(find_source(folder), wishes, pipeline.Trace()).vocabulary
        for wishes in (recipe(prune=table), recipe())
    )
    assert first["after"] == same["after"]
    rare = replace(table, vocabulary_min_count=2)
    loose = recipe(prune=rare, gate=GateTable(cosine_mean=0.0, signal=-1.0))
    second = build(folder, tmp_path / "dist", loose).manifest["vocabulary"]
    assert second["after"] < first["after"]
    assert second["texts_with_rare_tokens"] >= second["golden_outside"] > 0


# ------------------------------------------------------------------ other texts than the corpus


def narrow(tmp_path: Path) -> PruneTable:
    """Return a corpus of a few words."""
    (tmp_path / "few.txt").write_text("the name of the value\n" * 3, encoding="utf-8")
    return PruneTable(vocabulary=str(tmp_path / "few.txt"))


def test_words_that_were_cut_are_judged_and_told(
    model: Callable[..., Path], tmp_path: Path
) -> None:
    """Below the gate, nothing is tried in int8: the line says how many texts, and what to do."""
    folder = model(sentence_transformers=True)
    wishes = recipe(prune=narrow(tmp_path), gate=GateTable(cosine_mean=0.9999))
    with pytest.raises(GateError) as caught:
        build(folder, tmp_path / "dist", wishes)
    line = str(caught.value)
    assert line.startswith("cosine to float is 0.")
    assert "before any number is int8: 64 of 64 golden samples have words that few.txt" in line
    assert line.endswith("name [evaluate] data of the corpus, or add them to it")
    said: list[str] = []
    trace = pipeline.Trace(lambda stage, what: said.append(f"{stage}: {what}"))
    loose = replace(wishes, gate=GateTable(cosine_mean=0.0, signal=-1.0))
    (bundle,) = pipeline.build(folder, ["x86-64"], tmp_path / "dist", loose, trace)
    assert bundle.manifest["accuracy"]["mean"] < 0.9999
    sizes = {n["model"]: n["value"] for n in bundle.profile["numbers"] if n["name"] == "size"}
    dense = (folder / "model.safetensors").stat().st_size
    assert sizes["float"] > dense, "the profile compares with the dense model"
    assert any(line.startswith("warning: 64 of 64 golden samples have words") for line in said)


def pieces(path: Path) -> set[str]:
    """Return the pieces of a WordPiece tokenizer that begin a word."""
    return {piece for piece in Tokenizer.from_file(str(path)).get_vocab() if piece.isalpha()}


def used_by(folder: Path, lines: Sequence[str]) -> set[str]:
    """Return the pieces that texts use."""
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    return {piece for line in lines for piece in tokenizer.encode(json.loads(line)["text"]).tokens}


def test_answers_a_token_are_compared_where_there_are_as_many(
    model: Callable[..., Path], tmp_path: Path
) -> None:
    """Samples whose words fall apart are left out and counted; too few are refused."""
    folder = model()
    with pytest.raises(DataError, match="of 64 golden samples become other tokens, and not"):
        build(folder, tmp_path / "dist", recipe(prune=narrow(tmp_path)))
    lines = CORPUS.read_text().splitlines()
    judge = tmp_path / "judge.jsonl"
    other = max(sorted(pieces(folder / "tokenizer.json") - used_by(folder, lines)), key=len)
    judge.write_text("\n".join([*lines[:20], json.dumps({"text": other})]))
    wishes = recipe(evaluate=EvaluateTable(data=str(judge)))
    bundle = build(folder, tmp_path / "dist", wishes)
    table = bundle.manifest["vocabulary"]
    assert (table["golden_outside"], table["golden_left_out"]) == (1, 1)
    assert bundle.manifest["accuracy"]["samples"] == 20
    assert bundle.manifest["evaluation"]["samples"] == 20


# ------------------------------------------------------------------ what cannot be


@pytest.mark.parametrize(
    ("name", "content", "what"),
    [
        ("none.txt", "", "none.txt: holds no text"),
        ("blank.txt", "\n  \n", "blank.txt: holds no text"),
        ("bad.jsonl", '{"words": "x"}', "bad.jsonl, line 1: not a JSON object with the key 'text'"),
        ("corpus.pdf", "x", "corpus.pdf: not a known kind of data"),
        ("missing.txt", None, "missing.txt: no such file or folder"),
        ("once.txt", "the name", "once.txt: no token occurs 3 times"),
        ("folder", (), "folder: is no text; [prune] vocabulary takes a .txt"),
        ("random", None, "random: is no text; [prune] vocabulary takes a .txt"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_named(
    name: str,
    content: str | Sequence[str] | None,
    what: str,
    model: Callable[..., Path],
    tmp_path: Path,
) -> None:
    """One line with the file; nothing is written."""
    path = tmp_path / name
    if isinstance(content, str):
        path.write_text(content, encoding="utf-8")
    elif content is not None:
        path.mkdir()
    least = 3 if name == "once.txt" else 1
    table = PruneTable(vocabulary=name, vocabulary_min_count=least)
    with pytest.raises(DataError) as caught:
        build(model(), tmp_path / "dist", replace(recipe(prune=table), folder=tmp_path))
    assert what in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "dist").exists()


def test_a_template_beyond_the_table_is_named(model: Callable[..., Path], tmp_path: Path) -> None:
    """A tokenizer.json may claim any id for its special tokens."""
    folder = model()
    path = folder / "tokenizer.json"
    spec = json.loads(path.read_text(encoding="utf-8"))
    spec["padding"] = {
        "strategy": "BatchLongest",
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 999_999,
        "pad_type_id": 0,
        "pad_token": "<pad>",
    }
    path.write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(EdgeCompileError, match="names token id 999999, the model has 600 tokens"):
        build(folder, tmp_path / "dist", recipe())


def test_data_that_is_no_text_is_refused(model: Callable[..., Path], tmp_path: Path) -> None:
    """Ids of the whole vocabulary cannot be read through a cut tokenizer."""
    wishes = recipe(calibration=CalibrationTable(data="random"))
    with pytest.raises(DataError, match="random: is no text; with"):
        build(model(), tmp_path / "dist", wishes)


def test_a_decoder_keeps_its_vocabulary(model: Callable[..., Path]) -> None:
    """It answers in tokens, and any may be the next."""
    folder = model()
    graph, wishes = export(find_source(folder)), recipe()
    data = choose_data(wishes, graph, folder, 64)
    with pytest.raises(UnsupportedError, match="a decoder may answer with any token"):
        prune_vocabulary(
            graph,
            Part("decoder", graph),
            data,
            folder=folder,
            longest=64,
            recipe=wishes,
            trace=pipeline.Trace(),
        )


def test_the_tokenizer_may_lie_elsewhere(model: Callable[..., Path], tmp_path: Path) -> None:
    """[model] tokenizer names its folder; the cut one goes into the bundle all the same."""
    folder = model()
    other = tmp_path / "tokenizer"
    other.mkdir()
    (folder / "tokenizer.json").rename(other / "tokenizer.json")
    bundle = build(folder, tmp_path / "dist", recipe(model=ModelTable(tokenizer=str(other))))
    assert bundle.manifest["inputs"]["tokenizer/tokenizer.json"]
    assert bundle.manifest["vocabulary"]["after"] < bundle.manifest["vocabulary"]["before"]

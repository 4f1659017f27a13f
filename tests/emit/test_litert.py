"""LiteRT runs the file that is written, pads to its lengths, and answers as the float model."""

import dataclasses
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from edgecompile import pipeline
from edgecompile.emit import litert as engine
from edgecompile.engines import fit_lengths
from edgecompile.errors import DataError, MissingRuntimeError, UnsupportedError
from edgecompile.facts import LENGTHS
from edgecompile.inspect_file import inspect_file
from edgecompile.recipe import GateTable, ProfileTable, QuantizeTable, Recipe, ShapesTable
from edgecompile.target import load

Array = npt.NDArray[Any]

if find_spec("ai_edge_litert") is None:
    pytest.skip("ai-edge-litert is not installed", allow_module_level=True)

LOOSE = Recipe(profile=ProfileTable((8,), 1), gate=GateTable(0.9, 0.5), shapes=ShapesTable((1, 32)))
TARGET = "raspberry-pi-5"


def build(model: Path, output: Path, wishes: Recipe = LOOSE) -> pipeline.Bundle:
    """Build for a foreign board: judged here, not timed."""
    (bundle,) = pipeline.build(model, [TARGET], output, wishes, pipeline.Trace())
    return bundle


def feed_of(length: int, seed: int = 0) -> dict[str, Array]:
    """Return a text of random tokens."""
    ids = np.random.default_rng(seed).integers(5, 100, (1, length))
    return {
        "input_ids": ids,
        "attention_mask": np.ones_like(ids),
        "token_type_ids": np.zeros_like(ids),
    }


@pytest.fixture
def artifact(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """Return a tiny artifact, lengths 8 and 32."""
    bundle = build(checkpoint(sentence_transformers=True), tmp_path / "dist")
    return bundle.folder / bundle.manifest["artifact"]


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("head", [None, "sequence", "token"])
def test_families_and_heads_become_int8(
    family: str, head: str | None, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The real build: every Linear but a small last one is int8 in and out, and accurate."""
    bundle = build(checkpoint(family, head), tmp_path / "dist")
    rungs = {row["rung"] for row in bundle.manifest["quantization"]["linears"].values()}
    assert rungs <= {"int8", "float"}
    assert "int8" in rungs
    assert bundle.manifest["accuracy"]["signal"] > 0.95
    if head is None:
        assert bundle.manifest["accuracy"]["mean"] > 0.99


def test_padding_changes_nothing(artifact: Path) -> None:
    """Whatever length a text is padded to, its answer is the same but for rounding."""
    run = engine.runner(artifact, 1)
    short = feed_of(6)
    longer = {name: np.pad(array, [(0, 0), (0, 20)]) for name, array in short.items()}
    (a,), (b,) = run(short), run(longer)
    assert a.shape == b.shape == (1, 32)
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_token_outputs_are_as_long_as_the_text(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """What padding gave is cut off."""
    bundle = build(checkpoint(), tmp_path / "dist")
    run = engine.runner(bundle.folder / engine.ARTIFACT, 1)
    assert [run(feed_of(n))[0].shape for n in (1, 8, 9, 32)] == [(1, n, 32) for n in (1, 8, 9, 32)]


def test_the_same_build_gives_the_same_bytes(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Nothing depends on time, hash seeds or addresses."""
    model = checkpoint()
    files = [build(model, tmp_path / name).folder / engine.ARTIFACT for name in ("a", "b")]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_lengths_are_those_of_the_recipe(artifact: Path) -> None:
    """One signature each; by default the profile's lengths and the longest."""
    assert inspect_file(artifact)["signatures"] == ["tokens_8", "tokens_32"]
    board = load(TARGET)
    wishes = Recipe(shapes=ShapesTable((1, 64), (64, 20)))
    assert fit_lengths(board, wishes, 64).lengths == (20, 64)
    assert fit_lengths(board, wishes, 40).lengths == (20, 40)
    assert fit_lengths(board, Recipe(), 512).lengths == (16, 64, 128, 512)
    assert fit_lengths(load("raspberry-pi-5:onnxruntime"), Recipe(), 512).lengths == ()


def test_the_ladder_climbs_to_dynamic_or_float(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """A gate that int8 misses is met by other rungs, in the artifact itself."""
    model = checkpoint(sentence_transformers=True)
    before = build(model, tmp_path / "int8").manifest["accuracy"]["mean"]
    wanted = (1 + before) / 2
    strict = dataclasses.replace(LOOSE, gate=GateTable(wanted, 0.5))
    bundle = build(model, tmp_path / "dist", strict)
    rows = bundle.manifest["quantization"]["linears"].values()
    formats = {row["format"] for row in inspect_file(bundle.folder)["linears"]}
    assert {row["rung"] for row in rows} & {"dynamic", "float"}
    assert formats & {"int8 weight, dynamic int8 activation, float output", "float"}
    assert bundle.manifest["accuracy"]["mean"] >= wanted


def test_float_answers_are_the_float_model_s(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """With nothing quantized, LiteRT computes what onnxruntime does."""
    plain = dataclasses.replace(LOOSE, quantize=QuantizeTable(scheme="none"))
    bundle = build(checkpoint("roberta"), tmp_path / "dist", plain)
    assert bundle.manifest["accuracy"]["min"] > 0.999999


def test_smoke_checks_a_litert_bundle(artifact: Path) -> None:
    """On the device numpy and ai-edge-litert are enough."""
    done = subprocess.run(
        [sys.executable, "-I", artifact.parent / "smoke.py"],
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"litert {engine.runtime_version()}" in done.stdout


PLAIN = {
    "patches": "(float[b,3,8,12] x) => (float[b,5,2,3] y) { y = Conv<strides = [4, 4]>(x, w) }",
    "padded": "(float[b,3,8,12] x) => (float[b,5,5,7] y)"
    " { y = Conv<strides = [2, 2], pads = [2, 1, 3, 3]>(x, w) }",
    "same": "(float[b,3,8,12] x) => (float[b,5,3,4] y)"
    ' { y = Conv<strides = [3, 3], auto_pad = "SAME_UPPER">(x, w) }',
    "dilated": "(float[b,3,8,12] x) => (float[b,5,2,3] y)"
    " { y = Conv<dilations = [2, 3], group = 1>(x, w) }",
    "depthwise": "(float[b,3,8,12] x) => (float[b,6,5,9] y) { y = Conv<group = 3>(x, w3) }",
    "groups": "(float[b,6,8,12] x) => (float[b,4,5,9] y) { y = Conv<group = 2>(x, w2) }",
    "signal": "(float[b,3,80] x) => (float[b,5,25] y)"
    " { y = Conv<strides = [3], pads = [1, 2], dilations = [2]>(x, w1) }",
    "positions": "(float[b,6,20] x) => (float[b,4,20] y)"
    " { y = Conv<group = 2, pads = [2, 2]>(x, w5) }",
    "overlap": "(float[b,3,8,12] x) => (float[b,5,5,9] y) { y = Conv(x, w) }",
    "parts": "(float[b,6,4] x) => (float[b,6,2] y)"
    " { p, q = Split<axis = 2, num_outputs = 2>(x) y = Add(p, q) }",
    "uneven": "(float[b,6,4] x) => (float[b,6,3] y)"
    " { p, q = Split<axis = 2>(x, three_one) y = Mul(p, q) }",
    "swish": "(float[b,6,4] x) => (float[b,6,4] y) { y = HardSwish(x) }",
    "instances": "(float[b,5,8,12] x) => (float[b,5,8,12] y)"
    " { y = InstanceNormalization(x, five, five) }",
    "batches": "(float[b,5,8] x) => (float[b,5,8] y)"
    " { y = BatchNormalization<epsilon = 0.1>(x, five, four, four, five) }",
    "middle": "(float[b,6,4] x) => (float[b,2,4] y) { y = Slice(x, one, three, one) }",
    "steps": "(float[b,6,4] x) => (float[b,2,4] y) { y = Slice(x, one, minus, one, three) }",
    "joined": "(float[b,6,4] x) => (float[b,6,8] y) { t = Tanh(x) y = Concat<axis=2>(x, t) }",
    "where": "(float[b,6,4] x) => (float[b,6,4] y) { c = Greater(x, h) y = Where(c, x, h) }",
    "row": "(float[b,6,4] x) => (float[b,4] y) { y = Gather<axis = 1>(x, zero) }",
    "softmax": "(float[b,6,4] x) => (float[b,6,4] y) { y = Softmax(x) }",
    "gelu": "(float[b,6,4] x) => (float[b,6,4] y) { y = Gelu(x) }",
    "tanh": '(float[b,6,4] x) => (float[b,6,4] y) { y = Gelu<approximate = "tanh">(x) }',
    "sum": "(float[b,6,4] x) => (float[b,4] y) { y = ReduceSum<keepdims = 0>(x, one) }",
}


@pytest.mark.parametrize("name", PLAIN)
def test_operators_compute_what_onnxruntime_does(
    name: str,
    graph: Callable[..., Any],
    rewrite: Callable[..., Any],
    run: Callable[..., list[Array]],
    tmp_path: Path,
) -> None:
    """Each alone, in float; the writer's shapes are right, or LiteRT would not take them."""
    random = np.random.default_rng(11)
    constants = {"one": np.array([1]), "three": np.array([3]), "zero": np.array(0)}
    sizes = {"w": (5, 3, 4, 4), "w1": (5, 3, 5), "w2": (4, 3, 4, 4), "w3": (6, 1, 4, 4)}
    sizes |= {"w5": (4, 3, 5)}
    constants |= {k: random.normal(size=s).astype(np.float32) for k, s in sizes.items()}
    constants |= {"h": np.float32(0.5)}
    constants |= {"minus": np.array([-1])}
    constants |= {"three_one": np.array([3, 1]), "five": np.arange(1, 6, dtype=np.float32)}
    constants |= {"four": np.arange(4, -1, -1, dtype=np.float32)}
    model = graph(PLAIN[name], **constants)
    shape = [size if isinstance(size, int) else 1 for size in model.graph.inputs[0].shape]
    x = random.normal(size=shape).astype(np.float32)
    file, *_ = engine.write(rewrite("lower/litert", model, "expand-operators"), tmp_path, {})
    (found,), (wanted,) = engine.runner(tmp_path / file, 1)({"x": x}), run(model, {"x": x})
    assert found.shape == wanted.shape
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5)


CACHED = """(int64[b,s] input_ids, int64[b,t] attention_mask, float[b,2,p,4] past)
    => (float[b,s,5] logits, float[b,2,t,4] k) {
    e = Gather(table, input_ids) h = Reshape(e, parted) new = Transpose<perm = [0, 2, 1, 3]>(h)
    k = Concat<axis = 2>(past, new) kt = Transpose<perm = [0, 1, 3, 2]>(k) s = MatMul(new, kt)
    c = Cast<to = 1>(attention_mask) free = Sub(one, c) low = Mul(free, big)
    bias = Unsqueeze(low, heads) m = Add(s, bias) w = Softmax<axis = -1>(m) o = MatMul(w, k)
    back = Transpose<perm = [0, 2, 1, 3]>(o) r = Reshape(back, whole) logits = MatMul(r, head) }"""


def test_a_decoder_has_a_cache_of_fixed_places(
    graph: Callable[..., Any], run: Callable[..., list[Array]], tmp_path: Path
) -> None:
    """Empty, in part or full, whatever the new tokens: as in the graph of open axes."""
    random = np.random.default_rng(4)
    numbers = {
        n: random.normal(size=s).astype("f4") for n, s in (("table", (9, 8)), ("head", (8, 5)))
    }
    numbers |= {"one": np.float32(1), "big": np.float32(-1e4), "heads": np.array([1, 2])}
    numbers |= {"parted": np.array([0, 0, 2, 4]), "whole": np.array([0, 0, 8])}
    model = graph(CACHED, **numbers)
    ends = {str(value.name): value for value in (*model.graph.inputs, *model.graph.outputs)}
    ends["past"].name, ends["k"].name = "past_key_values.0.key", "present.0.key"
    model.metadata_props[LENGTHS] = "4,8"
    file, *_ = engine.write(model, tmp_path, {})
    assert inspect_file(tmp_path / file)["signatures"] == ["decode", "prefill_4", "prefill_8"]
    artifact = engine.runner(tmp_path / file, 1)
    for taken, tokens in ((0, 1), (0, 5), (3, 1), (8, 1), (5, 4), (8, 8)):
        feed = {
            "input_ids": random.integers(0, 9, (1, tokens)),
            "attention_mask": np.ones((1, taken + tokens), np.int64),
            "past_key_values.0.key": random.normal(size=(1, 2, taken, 4)).astype("f4"),
        }
        for found, wanted in zip(artifact(feed), run(model, feed), strict=True):
            np.testing.assert_allclose(found, wanted, atol=2e-5)
    long = {n: np.zeros((1, 2, 9, 4), "f4") if n.startswith("past") else a for n, a in feed.items()}
    with pytest.raises(DataError, match=r"^a cache of 9 tokens: the artifact's has 8 places$"):
        artifact(long)


# ------------------------------------------------------------------ errors


def test_what_does_not_fit_is_one_line(artifact: Path) -> None:
    """Too long, or more than one text at a time."""
    run = engine.runner(artifact, 1)
    with pytest.raises(DataError, match=r"^a text of 33 tokens: .* longest length is 32$"):
        run(feed_of(33))
    two = {name: np.concatenate([a, a]) for name, a in feed_of(4).items()}
    with pytest.raises(DataError, match="holds 2 samples: the artifact takes one at a time"):
        run(two)


def test_a_model_with_two_open_axes_is_one_line(graph: Callable[..., Any], tmp_path: Path) -> None:
    """Which axes of which inputs."""
    model = graph("(float[1,past,4] x, float[1,s,4] z) => (float[1,s,4] y) { y = Relu(z) }")
    with pytest.raises(UnsupportedError) as caught:
        engine.write(model, tmp_path, {})
    assert "'past' of input 'x', 's' of input 'z'" in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_an_operator_that_litert_lacks_is_one_line(
    graph: Callable[..., Any], tmp_path: Path
) -> None:
    """The node, its operator, and the pass that could help."""
    model = graph("(float[1,4] x) => (float[1,4] y) { y = Erf(x) }")
    with pytest.raises(UnsupportedError) as caught:
        engine.write(model, tmp_path, {})
    assert str(caught.value) == (
        "node 'y' (Erf): LiteRT has no such operator; canonicalise's fuse-gelu takes it in"
        " x * (1 + erf(x / sqrt(2))) / 2; choose another engine for this model"
    )


def test_more_than_a_file_holds_is_one_line(graph: Callable[..., Any], tmp_path: Path) -> None:
    """Flatbuffers end at 2 GB."""
    model = graph("(float[1,4] x) => (float[1,4] y) { y = Add(x, w) }", w=np.ones(4, "f4"))
    with pytest.raises(UnsupportedError, match="file holds at most"):
        engine.write(model, tmp_path, {}, one_file_bytes=8)


def test_a_missing_runtime_is_one_line(
    tmp_path: Path, checkpoint: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before any work: what is missing and how to get it."""
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(MissingRuntimeError) as caught:
        build(checkpoint(), tmp_path / "dist")
    assert str(caught.value) == (
        "litert is not installed: pip install 'edgecompile[litert]'; or choose"
        " raspberry-pi-5:onnxruntime"
    )
    assert not (tmp_path / "dist").exists()


def test_a_broken_file_is_one_line(artifact: Path) -> None:
    """Inspect reads what comes from anywhere."""
    from edgecompile.errors import ModelError

    artifact.write_bytes(b"TFL3" * 9)
    with pytest.raises(ModelError, match="not a readable TFLite file"):
        inspect_file(artifact)


# ------------------------------------------------------------------ the real model


@pytest.mark.slow
def test_minilm_is_accurate_and_small(minilm: Path, tmp_path: Path) -> None:
    """All Linears static int8: 0.997 in the mean, 0.995 at worst, a quarter of the bytes."""
    bundle = build(minilm, tmp_path / "dist", Recipe())
    accuracy = bundle.manifest["accuracy"]
    rungs = [row["rung"] for row in bundle.manifest["quantization"]["linears"].values()]
    assert set(rungs) == {"int8"}
    assert (accuracy["mean"], accuracy["min"]) >= (0.997, 0.995)
    assert accuracy["min"] >= 0.995
    assert (bundle.folder / engine.ARTIFACT).stat().st_size < 24e6

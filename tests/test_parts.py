"""Decoders and encoder-decoders: what each part is fed comes from the float graphs."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile import pipeline
from edgecompile.cache.store import Store
from edgecompile.errors import UnsupportedError
from edgecompile.export import read_model
from edgecompile.export.read_model import Source
from edgecompile.parts import STEPS, Part, has_cache, parts_of
from edgecompile.recipe import GateTable, ProfileTable, Recipe

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Run = Callable[..., list[Array]]

WORDS, POSITIONS, START = 150, 64, 3
QUICK = Recipe(
    profile=ProfileTable(sequence=(8,), repeats=1), gate=GateTable(0.9, next_token=0.5, signal=0.5)
)
RANDOM = np.random.default_rng(5)
NUMBERS: dict[str, Any] = {
    "table": RANDOM.normal(size=(WORDS, 8)).astype(np.float32),
    "places": RANDOM.normal(size=(POSITIONS, 8)).astype(np.float32),
    "w": RANDOM.normal(size=(8, 16)).astype(np.float32) / 3,
    "w1": RANDOM.normal(size=(16, 8)).astype(np.float32) / 4,
    "w2": RANDOM.normal(size=(8, WORDS)).astype(np.float32),
    "heads": np.array([0, 0, 2, 4]),
    "flat": np.array([0, 0, 8]),
    "two": np.array([2]),
    "one": np.array([1]),
}
OWN = """k4 = Reshape(h, heads) new = Transpose<perm = [0, 2, 1, 3]>(k4)"""
HEAD = """s = ReduceMean(k, two) t = Transpose<perm = [0, 2, 1, 3]>(s) f = Reshape(t, flat)
    mixed = Add(h, f) m = MatMul(mixed, w) r = Relu(m) d = MatMul(r, w1) sum = Add(mixed, d)
    logits = MatMul(sum, w2)"""
"""Each token is mixed with the mean of all keys, old and new."""


def named(model: ir.Model, **names: str) -> ir.Model:
    """Give inputs and outputs names that ONNX's text form cannot write."""
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.name = names.get(str(value.name), value.name)
    return model


@pytest.fixture(scope="module")
def causal(graph: Parse) -> ir.Model:
    """Return a decoder with a cache, a mask and positions."""
    text = f"""(int64[b,s] input_ids, int64[b,total_length] attention_mask,
        int64[b,s] position_ids, float[b,2,past_length,4] past)
        => (float[b,s,150] logits, float[b,2,total_length,4] k) {{
        e = Gather(table, input_ids) p = Gather(places, position_ids) x = Add(e, p)
        c = Cast<to = 1>(attention_mask) n = ReduceMean<keepdims = 1>(c, one)
        u = Unsqueeze(n, one) h = Mul(x, u) {OWN} k = Concat<axis = 2>(past, new) {HEAD} }}"""
    return named(
        graph(text, **NUMBERS),
        past="past_key_values.0.key",
        k="present.0.key",
    )


@pytest.fixture(scope="module")
def graphs(graph: Parse) -> dict[str, ir.Model]:
    """Return an encoder and its decoders, as optimum names and orders them."""
    kv = {"past": "past_key_values.0.decoder.key", "k": "present.0.decoder.key"}
    kv |= {"source": "past_key_values.0.encoder.key", "sk": "present.0.encoder.key"}
    mixed = "em = ReduceMean(source, one) h = Add(e, em)"
    decoder = f"""(int64[b,s] input_ids, float[b,encoder_length,8] encoder_hidden_states)
        => (float[b,s,150] logits, float[b,2,s,4] k, float[b,encoder_length,8] sk) {{
        e = Gather(table, input_ids) source = Neg(encoder_hidden_states) {mixed} {OWN}
        k = Identity(new) sk = Identity(source) {HEAD} }}"""
    step = f"""(int64[b,s] input_ids, float[b,2,past_length,4] past,
        float[b,encoder_length,8] source) => (float[b,s,150] logits, float[b,2,total_length,4] k) {{
        e = Gather(table, input_ids) {mixed} {OWN} k = Concat<axis = 2>(past, new) {HEAD} }}"""
    encoder = """(int64[b,encoder_length] input_ids, int64[b,encoder_length] attention_mask)
        => (float[b,encoder_length,8] last_hidden_state) { e = Gather(table, input_ids)
        c = Cast<to = 1>(attention_mask) u = Unsqueeze(c, two) x = Mul(e, u) m = MatMul(x, w)
        r = Relu(m) d = MatMul(r, w1) last_hidden_state = Add(x, d) }"""
    return {
        "decoder": named(graph(decoder, **NUMBERS), **kv),
        "decoder-with-past": named(graph(step, **NUMBERS), **kv),
        "encoder": graph(encoder, **NUMBERS),
    }


def text(length: int) -> dict[str, Array]:
    """Return the tokens of a text."""
    ids = np.random.default_rng(length).integers(5, WORDS, (1, length))
    return {"input_ids": ids, "attention_mask": np.ones((1, length), np.int64)}


def complete(part: Part, given: Mapping[str, Array], number: int) -> Mapping[str, Array]:
    """Return all inputs of a part."""
    assert part.complete is not None
    return part.complete(given, number)


# ------------------------------------------------------------------ a decoder alone


def test_a_model_of_plain_inputs_is_one_part_that_reads_what_data_gives(graph: Parse) -> None:
    """BERT, a ViT: nothing is completed, nothing is hidden from data."""
    model = graph("(int64[b,s] input_ids) => (float[b,s,8] y) { y = Gather(table, input_ids) }",
                  **NUMBERS)  # fmt: skip
    (part,) = parts_of({"": model}, {})
    assert (part.name, part.complete) == ("", None)
    assert part.front(model) is model


def test_data_sees_a_decoders_tokens_alone(causal: ir.Model) -> None:
    """Texts are read for the tokens; positions and cache are made; the graph stays whole."""
    (part,) = parts_of({"": causal}, {})
    front = part.front(causal)
    assert [v.name for v in front.graph.inputs] == ["input_ids", "attention_mask"]
    assert front.graph.inputs[0].shape == front.graph.inputs[1].shape
    assert has_cache(causal)
    assert len(causal.graph.inputs) == 4


@pytest.mark.parametrize(("number", "length"), [(0, 9), (2, 1), (1, 1)])
def test_even_samples_are_prompts(causal: ir.Model, number: int, length: int) -> None:
    """All tokens, an empty cache; a text of one token is a prompt in any case."""
    (part,) = parts_of({"": causal}, {})
    feed = complete(part, text(length), number)
    assert list(feed) == [v.name for v in causal.graph.inputs]
    np.testing.assert_array_equal(feed["input_ids"], text(length)["input_ids"])
    np.testing.assert_array_equal(feed["position_ids"], [np.arange(length)])
    assert feed["past_key_values.0.key"].shape == (1, 2, 0, 4)
    assert feed["attention_mask"].shape == (1, length)


def test_odd_samples_are_steps_after_what_the_float_model_computed(
    causal: ir.Model, run: Run
) -> None:
    """The last token, at its position, after the cache that the tokens before it left."""
    (part,) = parts_of({"": causal}, {})
    feed = complete(part, text(9), 1)
    prompt = {name: array[:, :8] for name, array in complete(part, text(9), 0).items()}
    prompt["past_key_values.0.key"] = np.zeros((1, 2, 0, 4), np.float32)
    _, present = run(causal, prompt)
    np.testing.assert_allclose(feed["past_key_values.0.key"], present, atol=1e-6)
    np.testing.assert_array_equal(feed["input_ids"], text(9)["input_ids"][:, 8:])
    assert feed["position_ids"].tolist() == [[8]]
    assert feed["attention_mask"].shape == (1, 9)


def test_inputs_that_nothing_could_feed_are_named(graph: Parse) -> None:
    """A decoder with inputs of its own needs its data as .npz."""
    model = graph(
        """(int64[b,s] input_ids, int64[b,s] position_ids, float[b,s,8] prefix)
        => (float[b,s,8] y) { e = Gather(table, input_ids) p = Gather(places, position_ids)
        x = Add(e, p) y = Add(x, prefix) }""",
        **NUMBERS,
    )
    (part,) = parts_of({"": model}, {})
    with pytest.raises(UnsupportedError, match=r"decoder's inputs \['prefix'\]"):
        complete(part, text(4), 0)


# ------------------------------------------------------------------ an encoder and decoders


def test_the_encoder_comes_first_and_decoders_follow_its_data(
    graphs: dict[str, ir.Model],
) -> None:
    """Whatever order the exporter's files have."""
    parts = parts_of(graphs, {})
    assert [part.name for part in parts] == ["encoder", "decoder", "decoder-with-past"]
    assert [part.follows for part in parts] == [False, True, True]
    assert parts[0].complete is None


@pytest.mark.parametrize("number", [0, 1, 5])
def test_decoders_read_what_the_encoder_made_and_answer_alike(
    graphs: dict[str, ir.Model], run: Run, number: int
) -> None:
    """The decoder over all tokens and the step after a cache give the last token's logits alike."""
    _, decoder, step = parts_of(graphs, {"decoder_start_token_id": START})
    whole, last = (complete(part, text(7), number) for part in (decoder, step))
    (states,) = run(graphs["encoder"], text(7))
    np.testing.assert_allclose(whole["encoder_hidden_states"], states, atol=1e-6)
    assert whole["input_ids"].shape == (1, number + 2)
    assert whole["input_ids"][0, 0] == START
    assert last["input_ids"].tolist() == whole["input_ids"][:, -1:].tolist()
    assert last["past_key_values.0.decoder.key"].shape == (1, 2, number + 1, 4)
    all_logits, one = (run(part.model, feed)[0] for part, feed in ((decoder, whole), (step, last)))
    np.testing.assert_allclose(one[0, -1], all_logits[0, -1], atol=1e-4)


def test_tokens_are_the_likeliest_ones(graphs: dict[str, ir.Model], run: Run) -> None:
    """Each token is what the float decoder answers to those before it, up to a length."""
    _, decoder, _ = parts_of(graphs, {"decoder_start_token_id": START})
    feed = complete(decoder, text(7), STEPS + 4)
    (tokens,) = feed["input_ids"]
    assert len(tokens) == 6
    for count in range(1, len(tokens)):
        shorter = {**feed, "input_ids": feed["input_ids"][:, :count]}
        logits, *_ = run(decoder.model, shorter)
        assert logits[0, -1].argmax() == tokens[count]


def test_a_decoder_without_logits_cannot_answer(graphs: dict[str, ir.Model], graph: Parse) -> None:
    """T5Model, say: the line names a class that generates."""
    states = graph(
        """(int64[b,s] input_ids, float[b,t,8] encoder_hidden_states) => (float[b,s,8] y) {
        e = Gather(table, input_ids) m = ReduceMean(encoder_hidden_states, one) y = Add(e, m) }""",
        **NUMBERS,
    )
    _, decoder = parts_of({"encoder": graphs["encoder"], "decoder": states}, {})
    with pytest.raises(UnsupportedError, match=r"no logits.*ForConditionalGeneration"):
        complete(decoder, text(4), 0)


# ------------------------------------------------------------------ the whole way


def check(folder: Path) -> None:
    """Run a bundle's own check, as a device does."""
    command = [sys.executable, "-I", folder / "smoke.py"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_decoder_gets_a_gated_bundle_that_checks_itself(
    causal: ir.Model, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """From an .onnx file and its tokenizer: prompts and steps are calibrated, judged and timed."""
    folder = checkpoint()
    ir.save(causal, folder / "decoder.onnx")
    (bundle,) = pipeline.build(
        folder / "decoder.onnx", ["x86-64"], tmp_path / "dist", QUICK, pipeline.Trace()
    )
    assert bundle.folder.name == "decoder-x86-64"
    assert bundle.manifest["accuracy"]["metric"] == "next-token"
    check(bundle.folder)
    timed = {(n.get("phase"), n["sequence"]) for n in bundle.profile["numbers"] if "phase" in n}
    assert timed == {("decode", 8), ("prefill", 8)}
    with np.load(bundle.folder / "golden.npz") as golden:
        lengths = {golden[k].shape[2] for k in golden.files if k.endswith("past_key_values.0.key")}
    assert 0 in lengths
    assert len(lengths) > 1


def test_each_part_gets_a_bundle_of_its_own(
    graphs: dict[str, ir.Model],
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Encoder, decoder, decoder with its cache: each is judged and timed, each checks itself."""
    source = Source(checkpoint(name="t5"), "optimum", read_model.read_config(tmp_path / "t5"))
    monkeypatch.setattr(read_model, "find_source", lambda _path: source)
    monkeypatch.setattr(read_model, "export_parts", lambda _source: graphs)
    bundles = list(
        pipeline.build(tmp_path / "t5", ["x86-64"], tmp_path / "dist", QUICK, pipeline.Trace())
    )
    names = [f"t5-{part}-x86-64" for part in ("encoder", "decoder", "decoder-with-past")]
    assert [bundle.folder.name for bundle in bundles] == names
    for bundle, metric in zip(bundles, ("cosine", "next-token", "next-token"), strict=True):
        assert bundle.manifest["accuracy"]["metric"] == metric
        assert bundle.manifest["part"] in bundle.manifest["model"]
        stages = [step["name"] for step in bundle.manifest["steps"]]
        assert stages.count("decide-plan") == 1
        assert json.loads((bundle.folder / "manifest.json").read_text()) == bundle.manifest
        check(bundle.folder)
    seen = {n["phase"] for n in bundles[2].profile["numbers"] if "phase" in n}
    assert seen == {"decode"}


def test_parts_are_kept_each_by_itself(
    graphs: dict[str, ir.Model],
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A second build exports nothing; where one part is missing, it alone is made, the same."""
    source = Source(checkpoint(name="t5"), "optimum", read_model.read_config(tmp_path / "t5"))
    monkeypatch.setattr(read_model, "find_source", lambda _path: source)
    exports: list[str] = []
    monkeypatch.setattr(
        read_model, "export_parts", lambda _source: exports.append("again") or graphs
    )
    store = Store(tmp_path / "stages", 10**9)

    def build() -> tuple[list[str], list[set[str]]]:
        hashes, kept = [], []
        for bundle in pipeline.build(
            tmp_path / "t5", ["aarch64"], tmp_path / "dist", QUICK, pipeline.Trace(), store=store
        ):
            hashes.append(bundle.manifest["files"]["model.onnx"])
            kept.append({entry.name for entry in store.entries()})
        return hashes, kept

    first, kept = build()
    assert (build()[0], len(exports)) == (first, 1)
    for name in kept[1] - kept[0]:  # the decoder's
        shutil.rmtree(store.folder / name)
    assert (build()[0], len(exports)) == (first, 2)
    assert {entry.name for entry in store.entries()} == kept[2]

"""The whole way, on tiny models: stages, bundles, the gate."""

import dataclasses
import json
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest

from edgecompile import engines, pipeline, recipe, target
from edgecompile.errors import (
    ChangedError,
    GateError,
    OutputError,
    UnknownNameError,
    UnsupportedError,
)
from edgecompile.export.read_model import export, find_source
from edgecompile.inspect_file import inspect_file
from edgecompile.passes import passes_of, run
from edgecompile.recipe import GateTable, ProfileTable, QuantizeTable, Recipe

QUICK = Recipe(profile=ProfileTable(sequence=(8,), repeats=1))
NO_LADDER = QuantizeTable(ladder=False)
LOOSE = dataclasses.replace(QUICK, gate=GateTable(cosine_mean=0.9, agreement=0.5))


def build(
    model: Path, output: Path, *targets: str, wishes: Recipe = LOOSE
) -> list[pipeline.Bundle]:
    """Build quietly."""
    return list(pipeline.build(model, targets, output, wishes, pipeline.Trace()))


def installed() -> list[str]:
    """Return every target with each of its engines whose runtime is here.

    Engines of a vendor's compiler, which is fetched, have slow tests of their own.
    """
    found = [
        f"{name}:{engine}"
        for name in target.names()
        for engine in target.engines(name)
        if not engines.engine(engine).toolchain
    ]
    return [name for name in found if find_spec(package(name.partition(":")[2])) is not None]


def package(engine: str) -> str:
    """Return the module that an engine's runtime is."""
    return engines.engine(engine).package.replace("-", "_")


@pytest.mark.parametrize("name", installed())
@pytest.mark.usefixtures("reports")
def test_every_target_gets_a_whole_bundle(
    name: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """A bundle holds artifact, tokenizer, golden vectors, smoke test, records, no more."""
    (bundle,) = build(checkpoint(), tmp_path / "dist", name)
    assert bundle.folder == tmp_path / "dist" / f"model-{target.load(name).folder}"
    files = {path.name for path in bundle.folder.iterdir()}
    records = {"profile.json", "manifest.json", "samples.json", "report.html", "sbom.cdx.json"}
    artifact = engines.engine(bundle.manifest["engine"]).artifact
    programs = {"smoke.py", "watts.py", "runtime.py"}
    programs |= {"interpret.py"} if ".tflite" in artifact else set()
    assert files == {artifact, "tokenizer.json", "golden.npz"} | programs | records
    written = json.loads((bundle.folder / "manifest.json").read_text())
    assert written == bundle.manifest
    assert set(written["files"]) == files - {"manifest.json"}
    formats = {row["format"] for row in inspect_file(bundle.folder)["linears"]}
    hybrid = target.load(name).forms.linear == "hybrid"
    gives = "int8" if bundle.manifest["engine"] == "litert" and not hybrid else "float"
    takes = "dynamic int8 activation" if hybrid else "int8 activation"
    assert formats == {f"int8 weight, {takes}, {gives} output"}


def test_artifact_says_opset_and_ir_version_of_its_target(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The target's opset is what the file declares."""
    model = checkpoint()
    for name in installed():
        if not engines.engine(name.partition(":")[2]).artifact.endswith(".onnx"):
            continue
        (bundle,) = build(model, tmp_path / "dist", name)
        proto = onnx.load(bundle.folder / "model.onnx")
        standard = next(o.version for o in proto.opset_import if not o.domain)
        assert standard == target.load(name).opset


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta", "xlm-roberta"])
@pytest.mark.parametrize("head", [None, "sequence", "token"])
def test_native_families_and_heads_become_int8(
    family: str, head: str | None, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Every Linear but the last is int8, and the manifest says why the last is not."""
    (bundle,) = build(checkpoint(family, head), tmp_path / "dist", "aarch64")
    layers = inspect_file(bundle.folder)["linears"]
    floats = {row["name"]: row["why"] for row in layers if row["format"] == "float"}
    rungs = bundle.manifest["quantization"]["linears"]
    assert floats == {n: row["why"] for n, row in rungs.items() if row["rung"] == "float"}
    assert len(floats) == (0 if head is None else 1)
    assert bundle.manifest["accuracy"]["metric"] == ("cosine" if head is None else "agreement")


def test_the_same_build_gives_the_same_artifact(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Artifact, golden vectors and smoke test do not change from build to build."""
    model = checkpoint(sentence_transformers=True)
    hashes = []
    for folder in ("one", "two"):
        (bundle,) = build(model, tmp_path / folder, "aarch64")
        files = dict(bundle.manifest["files"])
        hashes.append([files[name] for name in ("model.onnx", "golden.npz", "smoke.py")])
    assert hashes[0] == hashes[1]


def test_a_target_that_cannot_run_here_is_not_timed(
    checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Latency is null with the reason, never a made-up number."""
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    (bundle,) = build(checkpoint(), tmp_path / "dist", "raspberry-pi-5")
    latency = [n for n in bundle.profile["numbers"] if n["name"] == "latency_p50"]
    assert [(n["value"], n["kind"]) for n in latency] == [(None, None)]
    assert latency[0]["how"] == "this host is riscv64, raspberry-pi-5 is aarch64"


def test_every_number_says_how_it_was_got(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """Each number of the profile has a unit, a kind and a how."""
    (bundle,) = build(checkpoint(), tmp_path / "dist", "x86-64")
    for number in bundle.profile["numbers"]:
        assert number["unit"]
        assert number["how"]
        assert (number["kind"] == "measured") == (number["value"] is not None)


def test_below_the_gate_nothing_is_written(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """The error names figure, floor and worst layer; an older bundle stays; no scratch is left."""
    model, output = checkpoint(), tmp_path / "dist"
    (old,) = build(model, output, "aarch64")
    strict = dataclasses.replace(QUICK, gate=GateTable(cosine_mean=1.0), quantize=NO_LADDER)
    with pytest.raises(GateError) as error:
        build(model, output, "aarch64", wishes=strict)
    assert error.value.exit_code == 3
    assert "the gate wants 1.0000; no aarch64 bundle was written; worst layer: '" in str(
        error.value
    )
    assert [path.name for path in output.iterdir()] == [old.folder.name]
    assert json.loads((old.folder / "manifest.json").read_text()) == old.manifest


def test_scheme_none_gives_the_float_model(checkpoint: Callable[..., Path], tmp_path: Path) -> None:
    """Without quantization the artifact answers as the float model does."""
    wishes = dataclasses.replace(QUICK, quantize=QuantizeTable(scheme="none"))
    (bundle,) = build(checkpoint(), tmp_path / "dist", "raspberry-pi-5", wishes=wishes)
    assert bundle.manifest["accuracy"]["min"] == pytest.approx(1, abs=1e-6)


def test_an_unknown_target_stops_before_any_work(tmp_path: Path) -> None:
    """The model is not even looked at."""
    with pytest.raises(UnknownNameError, match="did you mean 'raspberry-pi-5'"):
        build(tmp_path / "nothing", tmp_path / "dist", "raspberry-pi5")


def test_output_that_cannot_be_written_is_one_line(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """A file where the folder should be is named."""
    (tmp_path / "dist").write_text("")
    with pytest.raises(OutputError, match="dist: cannot write there"):
        build(checkpoint(), tmp_path / "dist", "x86-64")


def test_dump_writes_the_graph_after_every_step(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Files are called NNN_stage_pass.onnx, in the manifest's order."""
    trace = pipeline.Trace(dump=tmp_path / "dump")
    (bundle,) = pipeline.build(checkpoint(), ["aarch64"], tmp_path / "dist", LOOSE, trace)
    names = sorted(path.name for path in (tmp_path / "dump").iterdir())
    steps = [f"{s['stage'].replace('/', '-')}_{s['name']}" for s in bundle.manifest["steps"]]
    assert names == [f"{number:03}_{step}.onnx" for number, step in enumerate(steps, 1)]
    assert {"seconds", "ops", "bytes"} <= set(bundle.manifest["steps"][0])


def test_an_onnx_file_with_a_tokenizer_beside_it_builds(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The float model in plain ONNX goes the same way, and its attention is found again."""
    folder = checkpoint(sentence_transformers=True)
    *_, (_, plain) = run(passes_of("lower/exchange"), export(find_source(folder)))
    ir.save(plain, folder / "plain.onnx")
    (bundle,) = build(folder / "plain.onnx", tmp_path / "dist", "x86-64")
    assert bundle.folder.name == "plain-x86-64"
    ops = [node.op_type for node in ir.load(bundle.folder / "model.onnx").graph]
    assert ops.count("Attention") == 2
    assert ops.count("MatMul") == 0


@pytest.mark.slow
def test_minilm_keeps_its_answers_and_a_quarter_of_its_size(minilm: Path, tmp_path: Path) -> None:
    """The figures that the README promises, on this CPU, whatever it is."""
    wishes = dataclasses.replace(recipe.Recipe(), profile=ProfileTable(sequence=(128,), repeats=3))
    names = ["x86-64", "raspberry-pi-5", "raspberry-pi-4"]
    for bundle in build(minilm, tmp_path, *names, wishes=wishes):
        accuracy = bundle.manifest["accuracy"]
        assert accuracy["mean"] >= 0.997
        assert accuracy["min"] >= 0.99
        assert (bundle.folder / bundle.manifest["artifact"]).stat().st_size < 24e6


@pytest.mark.parametrize("labels", [1, 3])
def test_a_dead_model_never_passes(
    labels: int,
    checkpoint: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An artifact that answers everything alike fails, even where argmax cannot tell."""
    names = {str(i): f"LABEL_{i}" for i in range(labels)}
    model = checkpoint("bert", "sequence", id2label=names)

    def dead(weight: np.ndarray, *_how: object) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(weight.shape, np.int8), np.ones(weight.shape[1], np.float32)

    monkeypatch.setattr("edgecompile.lower.onnxruntime.quantize_linears.quantize_weight", dead)
    loose = dataclasses.replace(QUICK, gate=GateTable(agreement=0.0), quantize=NO_LADDER)
    with pytest.raises(GateError, match="signal"):
        build(model, tmp_path / "dist", "aarch64", wishes=loose)
    assert not (tmp_path / "dist").exists()


def test_a_rewrite_that_shows_only_on_real_data_is_found(
    checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Golden answers come from the graph as it was exported; ours must give the same on them."""
    folder = checkpoint(sentence_transformers=True)
    *_, (_, plain) = run(passes_of("lower/exchange"), export(find_source(folder)))
    ir.save(plain, folder / "plain.onnx")

    def other(_source: object, model: ir.Model) -> ir.Model:
        changed = model.clone()
        table = changed.graph.initializers["embeddings.LayerNorm.bias"]
        if any(node.op_type == "Attention" for node in changed.graph):  # the canonical graph alone
            table.const_value = ir.Tensor(table.const_value.numpy() + 0.1, name=table.name)
        return changed

    monkeypatch.setattr("edgecompile.export.read_model.pooled", other)
    with pytest.raises(ChangedError, match="sentence_embedding"):
        build(folder / "plain.onnx", tmp_path / "dist", "aarch64")


def test_below_the_gate_layers_get_more_precision(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The gate holds with the fewest moves, and each Linear says which rung it is on and why."""
    model, output = checkpoint(), tmp_path / "dist"
    (plain,) = build(model, output, "x86-64")
    floor = (1 + plain.manifest["accuracy"]["mean"]) / 2
    strict = dataclasses.replace(QUICK, gate=GateTable(cosine_mean=floor))
    (raised,) = build(model, output, "x86-64", wishes=strict)
    assert raised.manifest["accuracy"]["mean"] >= floor
    quantization = raised.manifest["quantization"]
    count, moves = quantization["ladder"]["moves_made"], quantization["ladder"]["moves"]
    assert 0 < count < len(moves)
    moved = {row["tensor"]: row["linears"] for row in quantization["ladder"]["tensors"]}
    expected = {name for move in moves[:count] for name in moved[move["tensor"]]}
    found = {name for name, row in quantization["linears"].items() if row["rung"] != "int8"}
    assert found == expected
    assert all(quantization["linears"][n]["why"].startswith("the gate did not") for n in found)
    formats = {row["name"]: row["format"] for row in inspect_file(raised.folder)["linears"]}
    assert {n for n, kind in formats.items() if kind == "float"} <= found


@pytest.mark.parametrize(
    "wishes",
    [
        {"ranges": "moving-average"},
        {"ranges": "percentile"},
        {"ranges": "entropy"},
        {"ranges": "mse"},
        {"rounding": "gptq"},
        {"rounding": "gptq", "scheme": "int4-weights"},
        {"equalise": False},
        {"bias_correction": False},
    ],
)
def test_each_tool_can_be_used_alone(
    wishes: dict[str, Any], checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Each changes the artifact, and none breaks it."""
    model = checkpoint()
    (plain,) = build(model, tmp_path / "plain", "x86-64")
    recipe = dataclasses.replace(LOOSE, quantize=QuantizeTable(**wishes, ladder=False))
    (other,) = build(model, tmp_path / "other", "x86-64", wishes=recipe)
    assert other.manifest["files"]["model.onnx"] != plain.manifest["files"]["model.onnx"]
    assert other.manifest["recipe"]["quantize"] == dataclasses.asdict(recipe.quantize)


@pytest.mark.parametrize("bits", [4, 8])
def test_weights_alone_can_be_rounded(
    bits: int, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """No range is in the manifest, and no Linear of the artifact is float or int8 throughout."""
    recipe = dataclasses.replace(LOOSE, quantize=QuantizeTable(scheme=f"int{bits}-weights"))
    (bundle,) = build(checkpoint(), tmp_path / "dist", "x86-64", wishes=recipe)
    formats = {row["format"] for row in inspect_file(bundle.folder)["linears"]}
    assert formats == {f"int{bits} weight by blocks, float activation"}
    quantization = bundle.manifest["quantization"]
    assert not quantization["activations"]
    assert {row["rung"] for row in quantization["linears"].values()} == {f"int{bits} weights"}
    steps = {step["name"] for step in bundle.manifest["steps"]}
    assert "plan-weights" in steps
    assert "observe-ranges" not in steps


def test_rounded_weights_below_the_gate_become_float(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """As for int8, some Linears are raised; a gate that needs all of them float fails."""
    model, weights = checkpoint(), QuantizeTable(scheme="int4-weights")
    (plain,) = build(
        model, tmp_path / "a", "x86-64", wishes=dataclasses.replace(LOOSE, quantize=weights)
    )
    floor = (1 + plain.manifest["accuracy"]["mean"]) / 2
    strict = dataclasses.replace(QUICK, quantize=weights, gate=GateTable(cosine_mean=floor))
    (raised,) = build(model, tmp_path / "b", "x86-64", wishes=strict)
    assert raised.manifest["accuracy"]["mean"] >= floor
    rungs = {row["rung"] for row in raised.manifest["quantization"]["linears"].values()}
    assert rungs == {"int4 weights", "float"}
    strict = dataclasses.replace(strict, gate=GateTable(cosine_mean=1.0))
    with pytest.raises(GateError, match="in int4 weights alone"):
        build(model, tmp_path / "c", "x86-64", wishes=strict)


def test_a_scheme_that_a_target_lacks_is_said_before_any_work(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Nothing is exported or written for the other targets first."""
    recipe = dataclasses.replace(LOOSE, quantize=QuantizeTable(scheme="int8-weights"))
    trace = pipeline.Trace()
    with pytest.raises(UnsupportedError, match="needs onnxruntime"):
        list(pipeline.build(checkpoint(), ["x86-64", "aarch64"], tmp_path / "dist", recipe, trace))
    assert not trace.steps
    assert not (tmp_path / "dist").exists()


def test_a_float_artifact_is_not_sold_as_int8(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """A gate that holds with nothing but floats is a failure, and the message says the choices."""
    strict = dataclasses.replace(QUICK, gate=GateTable(cosine_mean=1.0))
    with pytest.raises(GateError) as error:
        build(checkpoint(), tmp_path / "dist", "aarch64", wishes=strict)
    assert "every Linear would have to be float; no aarch64 bundle was written" in str(error.value)
    assert "scheme = 'none'" in str(error.value)
    assert not (tmp_path / "dist").exists()

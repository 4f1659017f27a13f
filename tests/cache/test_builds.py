"""Builds with a cache: what is made again, what is not, and that it makes no difference."""

import dataclasses
import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgecompile import pipeline
from edgecompile.budgets.table import Budget, Budgets
from edgecompile.cache.store import Store
from edgecompile.recipe import (
    CalibrationTable,
    GateTable,
    ProfileTable,
    PruneTable,
    QuantizeTable,
    Recipe,
    ShapesTable,
)

QUICK = Recipe(
    profile=ProfileTable(sequence=(8,), repeats=1), gate=GateTable(cosine_mean=0.9, signal=0.5)
)
LOOSE = GateTable(cosine_mean=0.0, signal=0.0)
TARGET, OTHER, HERE = "aarch64", "raspberry-pi-3", "x86-64"
"""Two boards, whose artifacts are not timed here, and this computer."""
ALL = ["float", "plan", "artifact", "bundle", "report"]
"""The stages of a build for one target."""


@dataclass
class Builder:
    """Builds of one model with one cache; `made` are the stages that the last one has made."""

    model: Path
    place: Path
    made: list[str] = field(default_factory=list)
    said: list[tuple[str, str]] = field(default_factory=list)
    steps: int = 0

    @property
    def store(self) -> Store:
        """Return the cache."""
        return Store(self.place / "stages", 10**9)

    def run(
        self, *targets: str, recipe: Recipe = QUICK, fresh: bool = False, **places: Path
    ) -> list[pipeline.Bundle]:
        """Build; see which stages came anew."""
        before = {entry.name for entry in self.store.entries()}
        self.said.clear()
        trace = pipeline.Trace(lambda stage, what: self.said.append((stage, what)), **places)
        built = pipeline.build(
            self.model, targets or (TARGET,), self.place / "dist", recipe, trace,
            store=self.store, fresh=fresh,
        )  # fmt: skip
        bundles = list(built)
        order = {name: number for number, name in enumerate([*ALL, "observe", "parts"])}
        new = [entry.stage for entry in self.store.entries() if entry.name not in before]
        self.made = sorted(new, key=order.__getitem__)
        self.steps = len(trace.steps)
        return bundles

    def stages(self) -> set[str]:
        """Return what the last build told of, but that it is done."""
        return {stage for stage, _ in self.said}

    def files(self, bundle: pipeline.Bundle) -> dict[str, bytes]:
        """Return what lies in a bundle."""
        return {path.name: path.read_bytes() for path in bundle.folder.iterdir()}


@pytest.fixture
def builder(checkpoint: Callable[..., Path], tmp_path: Path) -> Builder:
    """Return a builder of a tiny model."""
    return Builder(checkpoint(), tmp_path)


@pytest.mark.usefixtures("reports")
def test_a_second_build_makes_nothing(builder: Builder) -> None:
    """No pass runs, nothing is timed, and the bundle is the same to the last byte."""
    (first,) = builder.run(HERE)
    assert builder.made == ALL
    assert builder.steps
    files = builder.files(first)
    (second,) = builder.run(HERE)
    assert builder.made == []
    assert builder.steps == 0
    assert builder.stages() == {"cached"}
    assert builder.files(second) == files
    assert second.manifest == first.manifest
    assert second.profile == json.loads(files["profile.json"])
    (line,) = (what for stage, what in builder.said if "bundle" in what)
    assert line.startswith(f"{HERE}: the bundle with its times, made 20")


@pytest.mark.usefixtures("reports")
def test_a_budget_touches_the_report_alone(builder: Builder) -> None:
    """It judges: the manifest has the new one, the page its verdict; no number is made again."""
    (first,) = builder.run()
    limits = dataclasses.replace(QUICK, budget=Budgets(Budget(size_mb=1e-6)))
    (second,) = builder.run(recipe=limits)
    assert builder.made == ["report"]
    assert builder.stages() == {"cached", "report"}
    assert second.manifest["recipe"]["budget"]["all"]["size_mb"] == 1e-6
    assert second.profile == json.loads(builder.files(first)["profile.json"])


def test_another_target_shares_what_is_common(builder: Builder) -> None:
    """Nothing of the first target runs again, nor what both share."""
    builder.run(TARGET)
    one, two = builder.run(TARGET, OTHER)
    assert builder.made == ["artifact", "bundle"]
    assert (one.manifest["target"], two.manifest["target"]) == (TARGET, OTHER)
    (alone,) = builder.run(OTHER, fresh=True)
    assert alone.manifest["files"]["model.onnx"] == two.manifest["files"]["model.onnx"]
    assert [s["name"] for s in alone.manifest["steps"]] == [
        s["name"] for s in two.manifest["steps"]
    ]


CHANGES: dict[str, tuple[Recipe, list[str]]] = {
    "profile": (
        dataclasses.replace(QUICK, profile=ProfileTable(sequence=(4,), repeats=1)),
        ["bundle"],
    ),
    "gate": (
        dataclasses.replace(QUICK, gate=GateTable(cosine_mean=0.8, signal=0.5)),
        ["artifact", "bundle"],
    ),
    "quantize": (
        dataclasses.replace(QUICK, quantize=QuantizeTable(equalise=False)),
        ["plan", "artifact", "bundle"],
    ),
    "calibration": (
        dataclasses.replace(QUICK, calibration=CalibrationTable(samples=32)),
        ["float", "plan", "artifact", "bundle"],
    ),
    "shapes": (
        dataclasses.replace(QUICK, shapes=ShapesTable(sequence=(1, 16))),
        ["float", "plan", "artifact", "bundle"],
    ),
}


@pytest.mark.parametrize("table", sorted(CHANGES))
def test_a_table_touches_what_reads_it(table: str, builder: Builder) -> None:
    """What comes before is taken; what was taken makes no difference to what is made."""
    recipe, touched = CHANGES[table]
    builder.run()
    (bundle,) = builder.run(recipe=recipe)
    assert builder.made == touched
    (fresh,) = builder.run(recipe=recipe, fresh=True)
    assert builder.made == []
    for name in ("model.onnx", "golden.npz", "samples.json"):
        assert fresh.manifest["files"][name] == bundle.manifest["files"][name]


def test_what_the_bill_of_materials_says_touches_the_bundle(
    builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The licence in the model's card, and the time that is set for reproducible builds."""
    builder.run()
    (builder.model / "README.md").write_text("---\nlicense: mit\n---\n")
    (bundle,) = builder.run()
    assert bundle.manifest["licences"]["model"] == "mit"
    assert builder.made[:1] == ["bundle"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    (bundle,) = builder.run()
    assert builder.made[:1] == ["bundle"]
    assert "2023-11-14" in (bundle.folder / "sbom.cdx.json").read_text()


def test_pruning_is_not_done_again(builder: Builder) -> None:
    """What was cut and repaired is taken where other numbers are to be rounded, the same."""
    pruned = dataclasses.replace(QUICK, prune=PruneTable(ffn=0.25, samples=16), gate=LOOSE)
    builder.run(recipe=pruned)
    recipe = dataclasses.replace(pruned, quantize=QuantizeTable(equalise=False))
    (taken,) = builder.run(recipe=recipe)
    assert builder.made == ["plan", "artifact", "bundle"]
    (fresh,) = builder.run(recipe=recipe, fresh=True)
    for key in ("pruning", "accuracy", "quantization", "golden"):
        assert taken.manifest[key] == fresh.manifest[key]
    assert taken.manifest["files"]["model.onnx"] == fresh.manifest["files"]["model.onnx"]


def edit_weights(model: Path) -> None:
    """Change the last bit of the last weight's second byte."""
    path = model / "model.safetensors"
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(data)


def edit_tokenizer(model: Path) -> None:
    """Change no token: the bundle's copy is another all the same."""
    path = model / "tokenizer.json"
    path.write_bytes(path.read_bytes() + b"\n")


def rename_model(model: Path) -> None:
    """Call the directory, after which the bundle is called, something else."""
    model.rename(model.with_name("renamed"))


@pytest.mark.parametrize("edit", [edit_weights, edit_tokenizer, rename_model])
def test_another_model_is_built_anew(edit: Callable[[Path], None], builder: Builder) -> None:
    """One byte is enough; so is a name."""
    builder.run()
    edit(builder.model)
    if not builder.model.is_dir():
        builder.model = builder.model.with_name("renamed")
    builder.run()
    assert builder.made == ["float", "plan", "artifact", "bundle"]
    builder.run()
    assert builder.made == []


def test_other_data_is_read_anew(builder: Builder, tmp_path: Path) -> None:
    """One changed letter of a text; the same file elsewhere is the same data."""
    texts = [f"the of and {'to in ' * (n % 7)}is" for n in range(80)]
    path = tmp_path / "texts.txt"

    def recipe() -> Recipe:
        return dataclasses.replace(QUICK, calibration=CalibrationTable(data=str(path)))

    path.write_text("\n".join(texts))
    builder.run(recipe=recipe())
    (tmp_path / "elsewhere").mkdir()
    path = path.rename(tmp_path / "elsewhere" / path.name)
    builder.run(recipe=recipe())
    assert builder.made == []
    path.write_text("\n".join(["a", *texts[1:]]))
    builder.run(recipe=recipe())
    assert builder.made == ["float", "plan", "artifact", "bundle"]


def test_random_data_is_told_by_a_taken_bundle(builder: Builder) -> None:
    """Nothing was real, whoever made it."""
    recipe = dataclasses.replace(
        QUICK, calibration=CalibrationTable(data="random"), gate=GateTable(0.0, 0.0, 0.0, 0.0)
    )
    for targets in ((TARGET, OTHER), (OTHER,)):
        builder.run(*targets, recipe=recipe)
        told = [what for stage, what in builder.said if stage == "warning"]
        assert len(told) == 1
        assert told[0].startswith("RANDOM DATA")
    assert builder.made == []


@pytest.mark.parametrize("stage", ALL[:4])
def test_a_build_goes_on_after_each_finished_stage(
    stage: str, builder: Builder, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interrupted right after it: the next build takes all up to there, with the same result."""
    (whole,) = builder.run()
    builder.store.trim(0)
    keep = Store.keep

    def interrupt(self: Store, name: str, *rest: Any) -> Any:
        keep(self, name, *rest)
        if name.startswith(f"{stage}-"):
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Store, "keep", interrupt)
        with pytest.raises(KeyboardInterrupt):
            builder.run()
    (resumed,) = builder.run()
    assert builder.made == ALL[ALL.index(stage) + 1 : 4]
    same = dict.fromkeys(("model.onnx", "golden.npz", "samples.json", "tokenizer.json"))
    assert {name: resumed.manifest["files"][name] for name in same} == {
        name: whole.manifest["files"][name] for name in same
    }
    timed = {"recipe", "accuracy", "quantization", "inputs", "calibration", "evaluation", "golden"}
    assert {key: resumed.manifest[key] for key in timed} == {
        key: whole.manifest[key] for key in timed
    }


def test_a_dump_makes_every_graph(builder: Builder, tmp_path: Path) -> None:
    """What is taken has no graphs to show."""
    builder.run()
    builder.run(dump=tmp_path / "dump")
    assert "cached" not in builder.stages()
    assert len(list((tmp_path / "dump").glob("*.onnx"))) == builder.steps


def test_taking_a_bundle_loads_no_graph_library(builder: Builder, tmp_path: Path) -> None:
    """Importing onnx_ir takes longer than all the rest of a second build."""
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text("[profile]\nsequence = [8]\nrepeats = 1\n[gate]\ncosine_mean = 0.9\n")
    code = (
        "import sys; from edgecompile.cli.main import cli; cli(standalone_mode=False);"
        "print([name for name in ('onnx', 'onnx_ir') if name in sys.modules])"
    )
    command = [
        sys.executable, "-c", code, "build", builder.model, "-t", TARGET, "--json",
        "--recipe", recipe, "-o", tmp_path / "dist",
    ]  # fmt: skip
    place = os.environ | {"EDGECOMPILE_STAGES": str(builder.store.folder)}
    loaded = []
    for _ in range(2):
        done = subprocess.run(command, env=place, capture_output=True, text=True, check=True)
        loaded.append(done.stdout.splitlines()[-1])
    assert loaded == ["['onnx', 'onnx_ir']", "[]"]


def test_two_builds_at_once_share_a_cache(builder: Builder, tmp_path: Path) -> None:
    """Both succeed with the same artifact, even into the same folder, and nothing is left over."""
    recipe = tmp_path / "edgecompile.toml"
    recipe.write_text("[profile]\nsequence = [8]\nrepeats = 1\n[gate]\ncosine_mean = 0.9\n")
    command = [
        sys.executable, "-m", "edgecompile", "build", builder.model, "-t", TARGET,
        "--recipe", recipe, "-o", tmp_path / "dist",
    ]  # fmt: skip
    place = {"EDGECOMPILE_STAGES": str(builder.store.folder)}
    both = [
        subprocess.Popen(command, env=os.environ | place, stderr=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    for process in both:
        _, said = process.communicate(timeout=300)
        assert process.returncode == 0, said
        assert "warning" not in said
    assert [path.name for path in (tmp_path / "dist").iterdir()] == [f"model-{TARGET}"]
    stages = [entry.stage for entry in builder.store.entries() if entry.stage != "report"]
    assert sorted(stages) == sorted(ALL[:4])
    assert not list(builder.store.folder.glob(".*"))

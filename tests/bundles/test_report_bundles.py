"""report.html: in each bundle that is built, made anew, and of several bundles."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecompile import pipeline
from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.cli.main import cli
from edgecompile.recipe import GateTable, ProfileTable, Recipe
from edgecompile.report.html import page

pytestmark = pytest.mark.usefixtures("reports")
QUICK = Recipe(profile=ProfileTable(sequence=(8,), repeats=3), gate=GateTable(cosine_mean=0.9))


@pytest.fixture
def bundle(checkpoint: Callable[..., Path], tmp_path: Path) -> Path:
    """Build a tiny model."""
    model = checkpoint(sentence_transformers=True)
    (built,) = pipeline.build(model, ["x86-64"], tmp_path / "dist", QUICK, pipeline.Trace())
    return built.folder


def test_a_build_writes_it_and_the_manifest_has_its_hash(bundle: Path) -> None:
    """It shows what was measured: the artifact's own sentences, operators and layers."""
    assert "report.html" in read_bundle(bundle).manifest["files"]
    html = (bundle / "report.html").read_text(encoding="utf-8").replace("<wbr>", "")
    samples = json.loads((bundle / "samples.json").read_text(encoding="utf-8"))
    assert len(samples["worst"]) == 8
    assert samples["worst"][0]["text"].split()[0] in html
    for words in ("encoder.layer.1", "kind of layer", "layer and format", "1 thread"):
        assert words in html


def test_it_is_made_anew(bundle: Path) -> None:
    """After numbers were added to the profile; the manifest then has the new hash."""
    before = (bundle / "report.html").read_bytes()
    (bundle / "report.html").unlink()
    manifest = json.loads((bundle / "manifest.json").read_text())
    del manifest["files"]["report.html"]
    (bundle / "manifest.json").write_text(json.dumps(manifest))
    done = CliRunner().invoke(cli, ["report", str(bundle)])
    assert done.exit_code == 0, done.output
    assert done.output == f"report: {bundle / 'report.html'}\n"
    assert (bundle / "report.html").read_bytes() != b""
    assert "report.html" in read_bundle(bundle).manifest["files"]
    assert len(before) > 10_000


def test_several_bundles_are_one_page(bundle: Path, tmp_path: Path) -> None:
    """Versions of one bundle are told apart by their folders; the bundles stay as they are."""
    before = (bundle / "manifest.json").read_bytes()
    output = tmp_path / "both.html"
    done = CliRunner().invoke(cli, ["report", str(bundle), str(bundle), "-o", str(output)])
    assert done.exit_code == 0, done.output
    html = output.read_text(encoding="utf-8")
    assert "2 bundles compared" in html
    assert html.count(f'<h2 id="b1-name">{bundle}</h2>') == 1
    assert (bundle / "manifest.json").read_bytes() == before


def test_a_damaged_bundle_is_one_line(bundle: Path, tmp_path: Path) -> None:
    """A changed byte is found, and no page is written."""
    with (bundle / "samples.json").open("ab") as file:
        file.write(b" ")
    output = tmp_path / "page.html"
    done = CliRunner().invoke(cli, ["report", str(bundle), "-o", str(output)])
    assert done.exit_code == 1
    assert "its hash differs" in done.output
    assert not output.exists()


def test_without_the_extra_a_build_says_what_is_missing(
    checkpoint: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One line; the bundle is whole otherwise."""
    monkeypatch.setattr(page, "PACKAGES", ("no_such_package",))
    told: list[str] = []
    trace = pipeline.Trace(lambda _stage, what: told.append(what))
    (built,) = pipeline.build(checkpoint(), ["x86-64"], tmp_path / "dist", QUICK, trace)
    lines = [line for line in told if "edgecompile[report]" in line]
    assert lines == [
        "x86-64: no report.html: report needs no_such_package: pip install 'edgecompile[report]'"
    ]
    assert not (built.folder / "report.html").exists()
    assert read_bundle(built.folder).manifest == built.manifest

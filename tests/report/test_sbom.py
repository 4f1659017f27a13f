"""The bill of materials: valid CycloneDX, complete, and the same bytes for the same bundle."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgecompile.bundles import add_sbom as adding
from edgecompile.errors import MissingRuntimeError, RecipeError
from edgecompile.files import sha256
from edgecompile.report.sbom import SBOM, sbom
from edgecompile.trace import Trace

pytest.importorskip("cyclonedx")

Json = dict[str, Any]


@pytest.fixture
def manifest(built: Path) -> Json:
    """Return the tiny bundle's manifest."""
    found: Json = json.loads((built / "model-x86-64" / "manifest.json").read_text())
    return found


def faults(text: str) -> str | None:
    """Return what CycloneDX's own schema finds wrong."""
    from cyclonedx.schema import SchemaVersion
    from cyclonedx.validation.json import JsonStrictValidator

    found = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if found is None else str(found)


def test_the_bundles_is_valid_and_has_every_material(built: Path, manifest: Json) -> None:
    """Model, data, files, tools: each with its hash, its licence where one is stated."""
    text = (built / "model-x86-64" / SBOM).read_text()
    assert faults(text) is None
    assert faults(text.replace("machine-learning-model", "oracle")) is not None
    table = json.loads(text)
    artifact = table["metadata"]["component"]
    assert artifact["hashes"] == [{"alg": "SHA-256", "content": manifest["files"]["model.onnx"]}]
    parts = {part["bom-ref"]: part for part in table["components"]}
    model = {part["name"]: part["hashes"][0]["content"] for part in parts["model"]["components"]}
    assert model["model.safetensors"] == sha256(built / "model" / "model.safetensors")
    assert {n for n in manifest["inputs"] if "/" in n and not n[0].isdigit()} <= parts.keys()
    texts = parts["calibration/docs.jsonl"]
    assert (texts["type"], texts["licenses"]) == ("data", [{"license": {"id": "PSF-2.0"}}])
    assert {"file/golden.npz", "file/smoke.py", "file/tokenizer.json"} <= parts.keys()
    assert not {"file/profile.json", "file/report.html", f"file/{SBOM}"} & parts.keys()
    tools = {part["name"]: part for part in table["metadata"]["tools"]["components"]}
    assert {"edgecompile", "onnx", "onnxruntime", "numpy", "Python"} <= tools.keys()
    assert tools["onnx"]["purl"] == f"pkg:pypi/onnx@{tools['onnx']['version']}"
    assert all("licenses" in part for part in tools.values())
    assert set(table["dependencies"][0]["dependsOn"]) <= parts.keys()


def test_it_is_the_manifests_alone(
    built: Path, manifest: Json, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No time, no random number; another artifact has another serial number."""
    first = (built / "model-x86-64" / SBOM).read_text()
    assert sbom(manifest) == first
    assert "timestamp" not in json.loads(first)["metadata"]
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    timed = sbom(manifest)
    assert json.loads(timed)["metadata"]["timestamp"] == "2023-11-14T22:13:20Z"
    assert faults(timed) is None
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "yesterday")
    with pytest.raises(RecipeError, match=r"must be seconds since 1970, found 'yesterday'"):
        sbom(manifest)
    monkeypatch.delenv("SOURCE_DATE_EPOCH")
    manifest["files"]["model.onnx"] = "0" * 64
    assert json.loads(sbom(manifest))["serialNumber"] != json.loads(first)["serialNumber"]


def test_vendors_compilers_and_their_licences_are_in_it(manifest: Json) -> None:
    """As their environment records them; words that are no SPDX name stay words."""
    manifest["toolchain"] = {
        "name": "qnn",
        "package": "onnxruntime-qnn 2.7.0",
        "licence": "MIT; Qualcomm's libraries: AI Stack License",
        "packages": [{"name": "numpy", "version": "2.4", "licence": "BSD-3-Clause"}],
    }
    text = sbom(manifest)
    assert faults(text) is None
    tools = {t["bom-ref"]: t for t in json.loads(text)["metadata"]["tools"]["components"]}
    told = tools["toolchain/qnn"]["licenses"][0]["license"]
    assert told == {"name": "MIT; Qualcomm's libraries: AI Stack License"}
    assert tools["vendor/numpy"]["licenses"] == [{"license": {"id": "BSD-3-Clause"}}]


def test_a_build_without_the_library_says_so(
    monkeypatch: pytest.MonkeyPatch, manifest: Json, bundle: Path
) -> None:
    """And stands all the same."""
    from edgecompile.compile_target import Bundle

    def missing(_: object) -> str:
        package = "edgecompile[sbom]"
        raise MissingRuntimeError(package, package=package)

    said: list[str] = []
    monkeypatch.setattr(adding, "sbom", missing)
    before = Bundle(bundle, manifest, {})
    after = adding.add_sbom(before, Trace(lambda _, what: said.append(what)))
    assert after is before
    assert said == [
        f"x86-64: no {SBOM}: edgecompile[sbom] is not installed: pip install 'edgecompile[sbom]'"
    ]

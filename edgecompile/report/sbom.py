"""sbom.cdx.json: what a bundle is made of and made by, in CycloneDX 1.6, from its manifest alone.

The same manifest gives the same bytes: the serial number is made of the content, and the only time
is that of $SOURCE_DATE_EPOCH, if it is set (https://reproducible-builds.org/specs).
"""

import json
import os
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from edgecompile.errors import MissingRuntimeError, RecipeError
from edgecompile.licences import NOT_STATED
from edgecompile.reproducible import MEASURED

if TYPE_CHECKING:
    from cyclonedx.model import HashType
    from cyclonedx.model.component import Component
    from cyclonedx.model.license import License

LIBRARY = "cyclonedx-python-lib"
EPOCH = "SOURCE_DATE_EPOCH"
SBOM = "sbom.cdx.json"
NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://cyclonedx.org/edgecompile")
WEIGHTS = (".safetensors", ".onnx", ".onnx_data", ".bin")
DATA = ("calibration", "evaluate", "prune", "tokenizer")
"""Where the inputs that are no part of the model come from: how their names begin."""


def sbom(manifest: Mapping[str, Any]) -> str:
    """Return the bill of materials as JSON; MissingRuntimeError without edgecompile[sbom]."""
    try:
        from cyclonedx.model.bom import Bom
        from cyclonedx.output.json import JsonV1Dot6
    except ImportError:
        raise MissingRuntimeError(LIBRARY, package="edgecompile[sbom]") from None

    bom = Bom(components=[*_materials(manifest), *_files(manifest)])
    bom.metadata.component = artifact = _artifact(manifest)
    bom.metadata.tools.components.update(_tools(manifest))
    bom.register_dependency(artifact, bom.components)
    table = json.loads(JsonV1Dot6(bom).output_as_string())
    table["metadata"].pop("timestamp", None)
    if moment := os.environ.get(EPOCH):
        table["metadata"]["timestamp"] = _timestamp(moment)
    table.pop("serialNumber", None)
    content = json.dumps(table, sort_keys=True)
    table["serialNumber"] = f"urn:uuid:{uuid.uuid5(NAMESPACE, content)}"
    return json.dumps(table, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def _timestamp(seconds: str) -> str:
    try:
        return datetime.fromtimestamp(int(seconds), UTC).isoformat().replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError) as error:
        msg = f"${EPOCH}: must be seconds since 1970, found '{seconds}'"
        raise RecipeError(msg) from error


def _artifact(manifest: Mapping[str, Any]) -> "Component":
    """Return the model that the engine loads."""
    from cyclonedx.model.component import Component, ComponentType

    name = str(manifest["artifact"])
    digest = str(manifest["files"][name])
    return Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="artifact",
        name=f"{manifest['model']} for {manifest['target']}",
        version=digest[:12],
        description=f"{name}, for {manifest['engine']} {manifest['runtime']}",
        hashes=_hash(digest),
        licenses=_licences(manifest.get("licences", {}).get("model", "")),
    )


def _materials(manifest: Mapping[str, Any]) -> "Iterator[Component]":
    """Yield what it was made of: the float model with its files, and each set of data."""
    from cyclonedx.model.component import Component, ComponentType

    licences = manifest.get("licences", {})
    inputs = {str(name): str(digest) for name, digest in manifest["inputs"].items()}
    data = {name for name in inputs if name.partition("/")[0] in DATA}
    yield Component(
        type=ComponentType.MACHINE_LEARNING_MODEL,
        bom_ref="model",
        name=str(manifest["model"]),
        description=f"the float model, by the {manifest['route']} exporter",
        licenses=_licences(licences.get("model", "")),
        components=[
            Component(
                type=ComponentType.FILE, bom_ref=f"model/{n}", name=n, hashes=_hash(inputs[n])
            )
            for n in sorted(inputs.keys() - data)
        ],
    )
    for name in sorted(data):
        yield Component(
            type=ComponentType.DATA,
            bom_ref=name,
            name=name,
            hashes=_hash(inputs[name]),
            licenses=_licences(licences.get(name.partition("/")[0], "")),
        )


def _files(manifest: Mapping[str, Any]) -> "Iterator[Component]":
    """Yield the bundle's files, but for those that hold measured times."""
    from cyclonedx.model.component import Component, ComponentType

    for name, digest in sorted(manifest["files"].items()):
        if name not in {*MEASURED, SBOM, manifest["artifact"]}:
            yield Component(
                type=ComponentType.FILE, bom_ref=f"file/{name}", name=name, hashes=_hash(digest)
            )


def _tools(manifest: Mapping[str, Any]) -> "Iterator[Component]":
    """Yield what made it: this compiler, its libraries, the vendor's compiler and its parts."""
    from cyclonedx.model.component import Component, ComponentType
    from packageurl import PackageURL

    vendor = manifest.get("toolchain", {})
    if vendor:
        yield Component(
            type=ComponentType.APPLICATION,
            bom_ref=f"toolchain/{vendor['name']}",
            name=str(vendor["package"]),
            description="the vendor's compiler",
            licenses=_licences(str(vendor["licence"])),
        )
    for place, rows in (
        ("tool", manifest.get("tools", [])),
        ("vendor", vendor.get("packages", [])),
    ):
        for row in rows:
            name, version = str(row["name"]), str(row["version"])
            kind = ComponentType.APPLICATION if name == "edgecompile" else ComponentType.LIBRARY
            purl = PackageURL("pypi", None, name.lower().replace("_", "-"), version)
            yield Component(
                type=kind,
                bom_ref=f"{place}/{name}",
                name=name,
                version=version,
                purl=None if name == "Python" else purl,
                licenses=_licences(str(row["licence"])),
            )


def _hash(digest: str) -> "Iterable[HashType]":
    from cyclonedx.model import HashAlgorithm, HashType

    return [HashType(alg=HashAlgorithm.SHA_256, content=digest)]


def _licences(text: str) -> "Iterable[License]":
    """Return a licence: an SPDX name or expression where the text is one, else its words."""
    from cyclonedx.contrib.license.factories import LicenseFactory

    return [] if text in {"", NOT_STATED} else [LicenseFactory().make_from_string(text)]

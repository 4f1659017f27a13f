"""What of a bundle's origin its recipe and inputs do not say: the target, tools, licences."""

import platform
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.licences import NOT_STATED, licence_in_card, licence_of
from edgecompile.target import load

if TYPE_CHECKING:
    from edgecompile.prepare import Prepared

CORE = ("edgecompile", "numpy", "onnx", "onnx-ir", "onnxruntime", "safetensors", "tokenizers")
EXPORTER = ("optimum-onnx", "torch", "transformers")
OURS = "PSF-2.0"
"""The licence of the texts in calibration_data/."""


def origin(prepared: "Prepared", target: str, runtime: str) -> dict[str, Any]:
    """Return the manifest's `target_file`, `tools`, and `licences` of the model and the data.

    `runtime` is the package of the engine. Of data of one's own no licence is known.
    """
    exporter = EXPORTER if prepared.source.route == "optimum" else ()
    recipe = prepared.recipe
    own = {
        "calibration": recipe.calibration.data,
        "evaluate": recipe.evaluate.data or recipe.calibration.data,
    }
    return {
        "target_file": asdict(load(target)),
        "tools": tools((*CORE, *exporter, runtime)),
        "licences": {"model": licence_in_card(Path(prepared.source.folder))}
        | {use: NOT_STATED if data else OURS for use, data in own.items()},
    }


def tools(names: tuple[str, ...]) -> list[dict[str, str]]:
    """Return name, version and licence of Python and of each package that is installed."""
    rows = [row("Python", platform.python_version(), "PSF-2.0")]
    for name in sorted(set(names)):
        try:
            found = distribution(name)
        except PackageNotFoundError:  # an engine that is emulated, a checkout that is not installed
            continue
        rows.append(row(name, found.version, licence_of(found)))
    return rows


def row(name: str, version: str, licence: str) -> dict[str, str]:
    """Return one row, as a toolchain's record has them."""
    return {"name": name, "version": version, "licence": licence}


def versions(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the versions that a manifest records: tools, and a vendor's compiler."""
    rows = [*manifest.get("tools", []), *manifest.get("toolchain", {}).get("packages", [])]
    return {str(found["name"]): str(found["version"]) for found in rows}

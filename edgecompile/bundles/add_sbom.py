"""sbom.cdx.json, written into each bundle by the build."""

from dataclasses import replace
from typing import TYPE_CHECKING

from edgecompile.bundles.rewrite_bundle import add_file
from edgecompile.errors import MissingRuntimeError
from edgecompile.report.sbom import SBOM, sbom
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from edgecompile.compile_target import Bundle


def add_sbom(bundle: "Bundle", trace: Trace) -> "Bundle":
    """Write the bill of materials into a bundle; without its package, say what is missing."""
    try:
        text = sbom(bundle.manifest)
    except MissingRuntimeError as error:
        trace.say("report", f"{bundle.manifest['target']}: no {SBOM}: {error}")
        return bundle
    (bundle.folder / SBOM).write_text(text, encoding="utf-8")
    return replace(bundle, manifest=add_file(bundle.folder, bundle.manifest, SBOM))

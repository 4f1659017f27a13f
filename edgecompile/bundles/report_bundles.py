"""report.html: written into each bundle by the build, and of several bundles on demand."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.bundles.check_bundles import Wishes, judge_bundle
from edgecompile.bundles.read_bundle import PROFILE, ReadBundle, read_bundle
from edgecompile.bundles.rewrite_bundle import add_file
from edgecompile.cache.cached import Cache
from edgecompile.cache.keys import report_key
from edgecompile.errors import MissingRuntimeError
from edgecompile.files import write_whole
from edgecompile.profile.read_profile import read_profile

if TYPE_CHECKING:
    from edgecompile.fill_bundle import Bundle
    from edgecompile.report.html.sections import Shown

REPORT = "report.html"


def add_report(bundle: "Bundle", cache: Cache) -> "Bundle":
    """Write the page into a bundle that was built; without its packages, say what is missing."""
    from edgecompile.cache.keep_json import read_json, write_json
    from edgecompile.report.html.page import render

    target, trace = bundle.manifest["target"], cache.trace

    def make() -> str:
        trace.say("report", f"{target}: {REPORT}")
        return render([_shown(bundle, _name(bundle.manifest))])

    key, what = report_key(bundle.manifest), f"{target}: {REPORT}"
    try:
        page = cache.cached("report", what, key, make, write_json, read_json)
    except MissingRuntimeError as error:
        trace.say("report", f"{target}: no {REPORT}: {error}")
        return bundle
    (bundle.folder / REPORT).write_text(page, encoding="utf-8")
    return replace(bundle, manifest=add_file(bundle.folder, bundle.manifest, REPORT))


def report(folders: Sequence[Path], output: Path | None) -> Path:
    """Write a page of one bundle, into it, or of several that are compared; return its path."""
    from edgecompile.report.html.page import render

    bundles = [read_bundle(folder) for folder in folders]
    names = _names(folders, [bundle.manifest for bundle in bundles])
    page = render([_shown(b, name) for b, name in zip(bundles, names, strict=True)])
    path = output or (folders[0] / REPORT if len(folders) == 1 else Path(REPORT))
    write_whole(path, page)
    if output is None and len(bundles) == 1:
        add_file(folders[0], bundles[0].manifest, REPORT)
    return path


def renew_report(folder: Path) -> None:
    """Write a bundle's page anew, if it has one, after its numbers have changed."""
    if (folder / REPORT).is_file():
        with suppress(MissingRuntimeError):
            report([folder], None)


def _names(folders: Sequence[Path], manifests: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the shortest names that tell bundles apart: target, model and target, or folder."""
    targets = [str(manifest["target"]) for manifest in manifests]
    names = [_name(manifest) for manifest in manifests]
    if len({manifest["model"] for manifest in manifests}) == 1 < len(folders) == len(set(targets)):
        return targets
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _name(manifest: Mapping[str, Any]) -> str:
    return f"{manifest['model']} for {manifest['target']}"


def _shown(bundle: "Bundle | ReadBundle", name: str) -> "Shown":
    from edgecompile.report.html.sections import Shown, read_samples
    from edgecompile.report.html.verdicts import of_budget

    read = ReadBundle(bundle.folder, bundle.manifest, read_profile(bundle.folder / PROFILE))
    budget = of_budget(judge_bundle(read, Wishes()))
    return Shown(name, read.manifest, read.profile, read_samples(read.folder), budget)

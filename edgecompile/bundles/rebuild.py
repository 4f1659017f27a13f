"""`edgecompile rebuild`: build a bundle again from what its manifest records, and compare."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.bundles.read_bundle import read_manifest
from edgecompile.bundles.recorded import (
    check_inputs,
    check_target,
    compare_inputs,
    recorded_recipe,
)
from edgecompile.errors import InputError, RebuildError
from edgecompile.files import MANIFEST
from edgecompile.origin import versions
from edgecompile.report.sbom import SBOM
from edgecompile.reproducible import reproducible_files, reproducible_hash
from edgecompile.scratch import scratch_folder

if TYPE_CHECKING:
    from edgecompile.pipeline import Trace

SAME, DIFFERS, GONE, NEW = "same", "differs", "not made again", "new"
DECISIONS = "what manifest.json says"
"""In place of a file: the manifest's accuracy, decisions and steps, without times."""


@dataclass(frozen=True, slots=True)
class Compared:
    """One file of the bundle, and whether the rebuild gave the same bytes."""

    file: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """A rebuild: each file's verdict, and each tool that is of another version: name, was, is."""

    files: Sequence[Compared]
    tools: Sequence[tuple[str, str, str]]

    @property
    def differing(self) -> list[str]:
        """Return what differs. The bill of materials names tools: with other tools, it may."""
        told = {SBOM} if self.tools else set()
        return [c.file for c in self.files if c.verdict != SAME and c.file not in told]


def rebuild(place: Path, model: Path | None, folder: Path, trace: "Trace") -> Rebuilt:
    """Build a bundle again, aside, from its manifest, and compare; demand_same judges.

    `place` is a bundle or a manifest.json, `model` where the model lies, by default where the
    recipe says; the recipe's paths are relative to `folder`. Raises InputError at the first input
    that is not the one that the bundle was built from.
    """
    from edgecompile.export.read_model import find_source
    from edgecompile.pipeline import build

    path = place / MANIFEST if place.is_dir() else place
    if not path.is_file():
        msg = f"{path}: no such file; give a bundle, or its {MANIFEST}"
        raise InputError(msg)
    was = read_manifest(path)
    recipe = recorded_recipe(was, path, folder)
    if model is None and not recipe.model.source:
        msg = f"{path}: its recipe does not say where the model lies: name it with --model"
        raise InputError(msg)
    source = find_source(model or recipe.path(recipe.model.source))
    check_target(was, path)
    check_inputs(was, source, recipe)
    with scratch_folder() as scratch:
        target = str(was["target"])
        built = build(source.path, [target], scratch, recipe, trace)
        part = was.get("part", "")
        now = next((b.manifest for b in built if b.manifest["part"] == part), None)
    if now is None:
        msg = f"{source.path}: has no part '{part}', of which the bundle is"
        raise InputError(msg)
    compare_inputs(was["inputs"], now["inputs"])
    return Rebuilt(_compare(was, now), _other_tools(versions(was), versions(now)))


def demand_same(rebuilt: Rebuilt) -> None:
    """Raise RebuildError if a file came out otherwise."""
    if wrong := rebuilt.differing:
        hint = "; tools differ too, as listed" if rebuilt.tools else ""
        msg = f"not the same again: {', '.join(wrong)}{hint}"
        raise RebuildError(msg)


def _compare(was: Mapping[str, Any], now: Mapping[str, Any]) -> list[Compared]:
    """Return each reproducible file's verdict, then that of the manifests."""
    before, after = reproducible_files(was), reproducible_files(now)
    found = []
    for name in sorted({*before, *after}):
        verdict = SAME if before.get(name) == after.get(name) else DIFFERS
        verdict = NEW if name not in before else GONE if name not in after else verdict
        found.append(Compared(name, verdict))
    same = reproducible_hash(was) == reproducible_hash(now)
    return [*found, Compared(DECISIONS, SAME if same else DIFFERS)]


def _other_tools(was: Mapping[str, str], now: Mapping[str, str]) -> list[tuple[str, str, str]]:
    names = sorted({*was, *now})
    return [(n, was.get(n, "-"), now.get(n, "-")) for n in names if was.get(n) != now.get(n)]

"""What a manifest records of its build: recipe, target, inputs; and whether they are still so."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from edgecompile import recipe as recipes
from edgecompile import target as targets
from edgecompile.budgets.table import budgets_of
from edgecompile.data.committed import data_dir
from edgecompile.data.provenance import hash_data
from edgecompile.data.source import word_of
from edgecompile.errors import BundleError, InputError
from edgecompile.files import sha256
from edgecompile.recipe import Recipe

if TYPE_CHECKING:
    from edgecompile.export.read_model import Source

Json = Mapping[str, Any]

OURS = {"calibration": "docs.jsonl", "evaluate": "golden.jsonl", "prune": "repair.jsonl"}
"""The data of a recipe that names none, by use."""
BESIDE = (*OURS, "tokenizer")
"""The inputs that do not lie with the model: how their names begin."""


def recorded_recipe(manifest: Json, path: Path, folder: Path) -> Recipe:
    """Return the recipe that a bundle was built with; its paths are relative to `folder`.

    `path` is the manifest, for errors. Raises RecipeError where this edgecompile knows no such.
    """
    tables = {key: value for key, value in manifest["recipe"].items() if key != "budget"}
    distils = "distill" in manifest.get("pruning", {})
    recipe = recipes.from_tables(tables, path, folder, distils=distils)
    return replace(recipe, budget=budgets_of(manifest, path))


def check_target(manifest: Json, path: Path) -> None:
    """Raise InputError where the target's file says other than it did; UnknownNameError, none."""
    was = manifest.get("target_file")
    name = str(manifest["target"])
    now = json.loads(json.dumps(asdict(targets.load(name))))
    if not isinstance(was, dict):
        msg = f"{path}: does not record its target: it was built by an older edgecompile"
        raise BundleError(msg)
    for key in sorted({*was, *now}):
        if was.get(key) != now.get(key):
            file = targets.path_of(name)
            msg = (
                f"{file}: {key} was {was.get(key)!r} when the bundle was built, is {now.get(key)!r}"
            )
            raise InputError(msg)


def check_inputs(manifest: Json, source: "Source", recipe: Recipe) -> None:
    """Raise InputError, before any work, at the first input that is not the one of the build.

    Data in folders is hashed as it is read: compare_inputs tells of it after the build.
    """
    was = {str(name): str(digest) for name, digest in manifest["inputs"].items()}
    now = dict(_hashes(was, source, recipe))
    for name, digest in sorted(now.items()):
        if name not in was:
            msg = f"{source.folder / name}: was not there when the bundle was built"
            raise InputError(msg)
        if digest != was[name]:
            _refuse(source.folder, name, "was not found" if not digest else "", recipe)
    missing = sorted(n for n in was.keys() - now.keys() if n.partition("/")[0] not in BESIDE)
    if missing:
        _refuse(source.folder, missing[0], "was not found", recipe)


def check_model(manifest: Json, source: "Source") -> None:
    """Raise InputError where a file of the float model is not the one of the build."""
    for path in source.files:
        name = str(path.relative_to(source.folder))
        if sha256(path) != manifest["inputs"].get(name):
            msg = f"{path}: is not the file that the bundle was built from"
            raise InputError(msg)


def compare_inputs(was: Json, now: Json) -> None:
    """Raise InputError where a finished rebuild has read other inputs than the build had."""
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            msg = f"{name}: is not the input that the bundle was built from"
            raise InputError(msg)


def _hashes(was: Json, source: "Source", recipe: Recipe) -> Iterator[tuple[str, str]]:
    """Yield name and hash, as it is now, of the model's files and of data that is a file."""
    for path in source.files:
        yield str(path.relative_to(source.folder)), sha256(path)
    for name in was:
        use, _, _ = name.partition("/")
        place = _data(use, recipe) if use in OURS else None
        if place is not None and not place.is_dir():
            yield name, hash_data(place)["sha256"] if place.is_file() else ""


def _data(use: str, recipe: Recipe) -> Path | None:
    """Return where the data of one use lies; None where it is a word."""
    named = {
        "calibration": recipe.calibration.data,
        "evaluate": recipe.evaluate.data,
        "prune": recipe.prune.data or recipe.calibration.data,
    }[use]
    if not named:
        return data_dir() / OURS[use]
    return None if word_of(named) else recipe.path(named)


def _refuse(folder: Path, name: str, fault: str, recipe: Recipe) -> NoReturn:
    use = name.partition("/")[0]
    path = (_data(use, recipe) if use in OURS else None) or folder / name
    what = fault or "is not the file that the bundle was built from: its hash differs"
    msg = f"{path}: {what}"
    raise InputError(msg)

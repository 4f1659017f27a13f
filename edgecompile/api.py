"""The Python interface, of the command line's shape: build, check, verify, diff, write_report.

Errors are those of edgecompile.errors, each one line; their `exit_code` is the command line's.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from edgecompile.budgets.judge import Verdict
from edgecompile.bundles.check_bundles import Wishes, check_bundle, demand, judge_bundle
from edgecompile.bundles.read_bundle import ReadBundle, read_bundle
from edgecompile.bundles.rebuild import Rebuilt
from edgecompile.bundles.verify_bundle import Verified, verify_bundle
from edgecompile.cache.open_store import open_store
from edgecompile.compare.change import Change
from edgecompile.compare.compare_bundles import compare_bundles
from edgecompile.errors import RecipeError
from edgecompile.pipeline import Bundle, Trace
from edgecompile.pipeline import build as run
from edgecompile.recipe import Recipe
from edgecompile.recipe import read as read_recipe

__all__ = ["Bundle", "Change", "Rebuilt", "Verdict", "Verified"]
__all__ += ["build", "check", "diff", "pack", "rebuild", "sign", "verify", "write_report"]

Place = str | os.PathLike[str]
Say = Callable[[str, str], None]


def build(
    model: Place | None = None,
    *,
    targets: Sequence[str] = (),
    recipe: Place | Recipe | None = None,
    output: Place = "dist",
    data: Place | None = None,
    fresh: bool = False,
    say: Say = lambda _stage, _what: None,
) -> list[Bundle]:
    """Build a model, a Hugging Face directory or an .onnx file, for each target.

    `model`, `targets` and `data` (for calibration; or "random") go before the recipe's. `fresh`
    takes no finished stage of an earlier build from the cache. `say` is called with each stage as
    it begins. Raises BudgetError, the bundles kept, if one is over the recipe's [budget]; GateError
    if one is not accurate enough, which is then not written.

    >>> import edgecompile
    >>> bundles = edgecompile.build(model, targets=["x86-64"], recipe=recipe, output=dist)
    >>> [bundle.folder.name for bundle in bundles]
    ['model-x86-64']
    >>> bundles[0].manifest["accuracy"]["metric"]
    'cosine'
    """
    read = _recipe(recipe)
    if data is not None:
        place = _data(data)
        read = replace(read, calibration=replace(read.calibration, data=place))
    source = Path(model) if model is not None else read.path(read.model.source)
    names = tuple(targets) or read.targets.names
    if model is None and not read.model.source:
        msg = "build: give a model, or name [model] source in the recipe"
        raise RecipeError(msg)
    if not names:
        msg = "build: give at least one target; edgecompile.target.names() lists them"
        raise RecipeError(msg)
    store = open_store()
    bundles = list(run(source, names, Path(output), read, Trace(say), store=store, fresh=fresh))
    kept = [ReadBundle(each.folder, each.manifest, each.profile) for each in bundles]
    demand([verdict for each in kept for verdict in judge_bundle(each, Wishes(read))])
    return bundles


def check(
    *bundles: Place,
    recipe: Place | Recipe | None = None,
    limits: Mapping[str, float] | None = None,
    run: bool = False,
) -> list[Verdict]:
    """Verify bundles' files and hold each against its budget: one verdict a limit.

    The budget is that of the recipe that a bundle was built with, or of `recipe`; `limits` go
    before both. `run` answers the golden vectors again, here. Raises BundleError if a file is not
    the one that was built.

    >>> import edgecompile
    >>> size, speed = edgecompile.check(bundle, limits={"size_mb": 25, "energy_mj": 4})
    >>> size.holds, speed.holds
    (True, False)
    >>> print(speed.line())  # doctest: +ELLIPSIS
    energy_mj: there is no number for it: profile.json has no number 'energy'; ...
    """
    read = _recipe(recipe) if recipe is not None else None
    wishes = Wishes(read, limits=limits, run=run)
    return [verdict for folder in bundles for verdict in check_bundle(Path(folder), wishes)]


def diff(old: Place, new: Place, *, run: bool = True, time: bool = False) -> list[Change]:
    """Return what differs between two bundles, and what is the same.

    `run` answers the golden vectors with both artifacts and compares sample by sample; `time`
    times them in turn. Regressions are those whose `verdict` is "worse".

    >>> import edgecompile
    >>> [change for change in edgecompile.diff(bundle, bundle) if change.verdict != "same"]
    []
    """
    return compare_bundles(read_bundle(Path(old)), read_bundle(Path(new)), run=run, time=time)


def _recipe(given: Place | Recipe | None) -> Recipe:
    if isinstance(given, Recipe):
        return given
    return read_recipe(Path(given)) if given is not None else Recipe()


def _data(given: Place) -> str:
    from edgecompile.data.source import word_of

    return str(given) if word_of(str(given)) else str(Path(given).absolute())


def write_report(*bundles: Place, output: Place | None = None) -> Path:
    """Write the page of a bundle, into it, or of several that are compared; return its path.

    By default "report.html". Raises BundleError; MissingRuntimeError without edgecompile[report].
    """
    from edgecompile.bundles.report_bundles import report

    return report([Path(bundle) for bundle in bundles], Path(output) if output else None)


def verify(bundle: Place, key: str | None = None) -> Verified:
    """Verify a bundle, a folder or a .zip, before its smoke.py is trusted.

    No file may be missing, changed or added. `key` is the signer's minisign public key, or its
    file: with it, the bundle must be signed. Raises BundleError, or SignatureError, which is one.

    >>> import edgecompile
    >>> found = edgecompile.verify(bundle)
    >>> found.name, found.signed
    ('model-x86-64', None)
    """
    return verify_bundle(Path(bundle), key)


def sign(bundle: Place, key: Place, *, password: str = "", comment: str = "") -> Path:
    """Sign a bundle with a minisign secret key file; return the signature's path.

    Raises BundleError, SignatureError; MissingRuntimeError without edgecompile[sign].
    """
    from edgecompile.bundles.signature import SIGNATURE
    from edgecompile.bundles.signature import sign as run

    run(read_bundle(Path(bundle)), Path(key), lambda: password, comment)
    return Path(bundle) / SIGNATURE


def pack(bundle: Place, output: Place | None = None) -> Path:
    """Write a bundle into one .zip, the same bytes for the same bundle; return its path.

    By default beside the bundle, named after model and target. Raises BundleError, OutputError.

    >>> import edgecompile
    >>> edgecompile.pack(bundle, dist / "model.zip").name
    'model.zip'
    """
    from edgecompile.bundles.pack_bundle import pack_bundle

    return pack_bundle(Path(bundle), Path(output) if output else None)


def rebuild(
    bundle: Place,
    *,
    model: Place | None = None,
    folder: Place = ".",
    say: Say = lambda _stage, _what: None,
) -> Rebuilt:
    """Build a bundle, or a manifest.json, again from what it records, aside, and compare.

    `model` is where the float model lies, by default where the recipe says; the recipe's paths are
    relative to `folder`. `differing` of what is returned names the files that came out otherwise.
    Raises InputError at the first input that is not the one that the bundle was built from.
    """
    from edgecompile.bundles.rebuild import rebuild as run

    return run(Path(bundle), Path(model) if model else None, Path(folder), Trace(say))

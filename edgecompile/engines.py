"""An engine is a module of `emit/`.

It has write, runner, runtime_version, HOW, LOOKUPS, RUNGS, WEIGHTS, WITHOUT_VNNI, PACKAGE, ISAS,
ROUNDS_OUTPUTS, FIXED_SHAPES. It may have PROFILES (from the fastest to the most accurate),
ALL_TENSORS (the plan must know the range of every tensor) and finish (a vendor's compiler makes
more files of the artifact, and figures).
"""

import importlib
from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType

from edgecompile.errors import MissingRuntimeError, UnsupportedError
from edgecompile.plan import Plan
from edgecompile.recipe import WEIGHT_SCHEMES, Recipe
from edgecompile.target import Target, version

REFERENCE = "onnxruntime"
"""What runs the float model, and the dynamic int8 that artifacts are compared with."""


def engine(name: str) -> ModuleType:
    """Return the module of an engine."""
    return importlib.import_module(f"edgecompile.emit.{name}")


def check_installed(target: Target) -> None:
    """Say so if the runtime that a target's engine needs is not here, or too old."""
    here = engine(target.engine).runtime_version()
    if version(here) < version(target.runtime):
        fault = f"{here} is too old for {target.name}"
        package = engine(target.engine).PACKAGE
        raise MissingRuntimeError(target.engine, fault, f"{package}{target.runtime}")


def check_scheme(target: Target, scheme: str) -> None:
    """Say so if a target's engine, or the oldest runtime that its file allows, lacks a scheme."""
    if scheme not in WEIGHT_SCHEMES:
        return
    runs = engine(target.engine).WEIGHTS
    if scheme not in runs:
        board = target.name.partition(":")[0]
        msg = (
            f"{target.name}: [quantize] scheme '{scheme}' is not made for {target.engine}; ask for"
            f" 'int8', or choose {board}:{REFERENCE}"
        )
        raise UnsupportedError(msg)
    needed, promised = runs[scheme], version(target.runtime)
    if promised < needed:
        wanted = ".".join(map(str, needed))
        msg = (
            f"{target.name}: [quantize] scheme '{scheme}' needs {target.engine} {wanted}, its file"
            f" allows {target.runtime}; raise `runtime` there, or choose another scheme"
        )
        raise UnsupportedError(msg)


def rounds_outputs(target: Target) -> bool:
    """Say whether a target's engine rounds what Linears give."""
    return bool(engine(target.engine).ROUNDS_OUTPUTS)


def needs_all_tensors(target: Target) -> bool:
    """Say whether a target's engine must know the range of every tensor."""
    return bool(getattr(engine(target.engine), "ALL_TENSORS", False))


def profiles(target: Target, wish: str) -> list[Target]:
    """Return the target once for each of its engine's profiles, or for the one that is wished."""
    known = getattr(engine(target.engine), "PROFILES", ("",))
    chosen = [name for name in known if wish in ("", name)] or list(known)
    return [replace(target, profile=name) for name in chosen]


def fit_recipe(targets: Iterable[Target], recipe: Recipe) -> Recipe:
    """Return the recipe with texts as long as every target is built for, unless it says buckets."""
    limits = [target.longest for target in targets if target.longest]
    low, high = recipe.shapes.sequence
    if recipe.shapes.buckets or not limits or high <= min(limits):
        return recipe
    most = min(limits)
    return replace(recipe, shapes=replace(recipe.shapes, sequence=(min(low, most), most)))


def fit_lengths(target: Target, recipe: Recipe, longest: int) -> Target:
    """Return the target with the token counts of its artifact, if its engine fixes shapes.

    Those of [shapes] buckets or, by default, those that [profile] times; and the longest.
    """
    if not engine(target.engine).FIXED_SHAPES:
        return target
    compiled = hasattr(engine(target.engine), "finish")  # each length is a file of its own
    wished = recipe.shapes.buckets or (() if compiled else recipe.profile.sequence)
    return replace(target, lengths=tuple(sorted({*(n for n in wished if n < longest), longest})))


def fit_plan(plan: Plan, target: Target) -> Plan:
    """Return the plan with int8 tables where an engine, or its oldest runtime, has no int4 ones."""
    needed = engine(target.engine).LOOKUPS.get(plan.embeddings)
    if plan.embeddings != "int4" or (needed and version(target.runtime) >= needed):
        return plan
    return replace(plan, embeddings="int8")

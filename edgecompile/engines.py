"""An engine is a module of `emit/`.

It has write, runner, time_nodes, runtime_version, HOW, LOOKUPS, RUNGS, WEIGHTS, WITHOUT_VNNI,
PACKAGE, ISAS, ROUNDS_OUTPUTS, FIXED_SHAPES. It may have PROFILES (from the fastest to the most
accurate), finish (a vendor's compiler makes more files of the artifact, and figures), IMPORTS (what
smoke.py imports, where it is not called as PACKAGE) and BESIDE (what else pip installs there).
"""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from edgecompile.errors import MissingRuntimeError, UnsupportedError
from edgecompile.recipe import WEIGHT_SCHEMES, Recipe
from edgecompile.target import Target, version

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.plan import Plan

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


def open_toolchain(target: Target, say: Callable[[str, str], None]) -> None:
    """Install the vendor's compiler that an engine needs, if it is not there."""
    from edgecompile.toolchain.venv import open_venv

    if name := getattr(engine(target.engine), "TOOLCHAIN", ""):
        open_venv(name, say)


def toolchain_record(target: Target) -> Mapping[str, Any]:
    """Return what the manifest says of the vendor's compiler: versions, lock, licences."""
    from edgecompile.toolchain.venv import installed

    name = getattr(engine(target.engine), "TOOLCHAIN", "")
    return (installed(name) if name else None) or {}


def numbers(target: Target, artifact: Path) -> list[dict[str, Any]]:
    """Return what an engine tells of its artifact for the profile: the NPU's share, say."""
    own = getattr(engine(target.engine), "numbers", None)
    found: list[dict[str, Any]] = own(artifact) if own is not None else []
    return found


def check_scheme(target: Target, scheme: str) -> None:
    """Say so if a target's engine, or the oldest runtime that its file allows, lacks a scheme."""
    if scheme == "none" and getattr(engine(target.engine), "ONLY_ROUNDED", False):
        msg = (
            f"{target.name}: {target.engine} is made in int8 only; ask for [quantize] scheme 'int8'"
        )
        raise UnsupportedError(msg)
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


def profiles(target: Target) -> list[Target]:
    """Return the target in its profile, then in each more accurate one that its engine has."""
    known = getattr(engine(target.engine), "PROFILES", (target.profile,))
    return [replace(target, profile=name) for name in known[known.index(target.profile) :]]


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
    target = replace(target, profile=recipe.quantize.profile)
    if getattr(engine(target.engine), "ONE_LENGTH", False):
        return replace(target, lengths=(longest,))
    compiled = hasattr(engine(target.engine), "finish")  # each length is a file of its own
    wished = recipe.shapes.buckets or (() if compiled else recipe.profile.sequence)
    return replace(target, lengths=tuple(sorted({*(n for n in wished if n < longest), longest})))


def observe(plan: "Plan", target: Target, model: "ir.Model", feeds: "Iterable[Feed]") -> "Plan":
    """Return the plan with the ranges of all tensors, for an engine that rounds every one.

    Such an engine has `observe`, and finds them in its own float form of the canonical model.
    """
    own = getattr(engine(target.engine), "observe", None)
    if own is None or not plan.activations:
        return plan
    found: Plan = own(plan, target, model, feeds)
    return found


def answer(target: Target, artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return what an artifact answers to each feed.

    An emulator that starts slowly has `answer_all`, which takes all feeds at once.
    """
    module = engine(target.engine)
    if hasattr(module, "answer_all"):
        answers: list[list[FloatArray]] = module.answer_all(artifact, feeds)
        return answers
    run = module.runner(artifact)
    return [run(feed) for feed in feeds]


def fit_plan(plan: "Plan", target: Target) -> "Plan":
    """Return the plan with int8 tables where an engine, or its oldest runtime, has no int4 ones."""
    needed = engine(target.engine).LOOKUPS.get(plan.embeddings)
    if plan.embeddings != "int4" or (needed and version(target.runtime) >= needed):
        return plan
    return replace(plan, embeddings="int8")

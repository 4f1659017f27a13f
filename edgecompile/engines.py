"""What the pipeline asks of a target's engine, each question in one function."""

import importlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.engine import Engine, read_engine
from edgecompile.errors import MissingRuntimeError, UnsupportedError
from edgecompile.plugins import module_of
from edgecompile.recipe import WEIGHT_SCHEMES, Recipe
from edgecompile.target import Target, version
from edgecompile.target import engines as engines_of

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.plan import Plan

REFERENCE = "onnxruntime"
"""What runs the float model, and the dynamic int8 that artifacts are compared with."""


def engine(name: str) -> Engine:
    """Return an engine by name: of a module of emit/, or of another package (plugins.py)."""
    return read_engine(name, importlib.import_module(module_of(name, "emit", f"emit.{name}")))


def check_installed(target: Target) -> None:
    """Say so if the runtime that a target's engine needs is not here, or too old."""
    of = engine(target.engine)
    try:
        here = of.runtime_version()
    except MissingRuntimeError as error:
        board = target.name.partition(":")[0]
        others = [f"{board}:{name}" for name in engines_of(board) if name != target.engine]
        if others:
            error.args = (f"{error}; or choose {' or '.join(others)}",)
        raise
    if version(here) < version(target.runtime):
        fault = f"{here} is too old for {target.name}"
        raise MissingRuntimeError(target.engine, fault, f"{of.package}{target.runtime}")


def open_toolchain(target: Target, say: Callable[[str, str], None]) -> None:
    """Install the vendor's compiler that an engine needs, if it is not there."""
    from edgecompile.toolchain.venv import open_venv

    if name := engine(target.engine).toolchain:
        open_venv(name, say)


def toolchain_record(target: Target) -> Mapping[str, Any]:
    """Return what the manifest says of the vendor's compiler: versions, lock, licences."""
    from edgecompile.toolchain.venv import installed

    name = engine(target.engine).toolchain
    return (installed(name) if name else None) or {}


def numbers(target: Target, artifact: Path) -> list[dict[str, Any]]:
    """Return what an engine tells of its artifact for the profile: the NPU's share, say."""
    own = engine(target.engine).numbers
    return own(artifact) if own else []


def inspect(target: Target, artifact: Path) -> dict[str, Any]:
    """Return what a new artifact holds, without its widths."""
    from edgecompile.inspect_file import inspect_file

    own = engine(target.engine).inspect
    return own(artifact) if own else inspect_file(artifact, widths=False)


def check_scheme(target: Target, scheme: str) -> None:
    """Say so if a target's engine, or the oldest runtime that its file allows, lacks a scheme."""
    of = engine(target.engine)
    if scheme == "none" and of.only_rounded:
        msg = (
            f"{target.name}: {target.engine} is made in int8 only; ask for [quantize] scheme 'int8'"
        )
        raise UnsupportedError(msg)
    if scheme not in WEIGHT_SCHEMES:
        return
    if scheme not in of.weights:
        board = target.name.partition(":")[0]
        msg = (
            f"{target.name}: [quantize] scheme '{scheme}' is not made for {target.engine}; ask for"
            f" 'int8', or choose {board}:{REFERENCE}"
        )
        raise UnsupportedError(msg)
    needed, promised = of.weights[scheme], version(target.runtime)
    if promised < needed:
        wanted = ".".join(map(str, needed))
        msg = (
            f"{target.name}: [quantize] scheme '{scheme}' needs {target.engine} {wanted}, its file"
            f" allows {target.runtime}; raise `runtime` there, or choose another scheme"
        )
        raise UnsupportedError(msg)


def rounds_outputs(target: Target) -> bool:
    """Say whether a target's engine rounds what Linears give."""
    return engine(target.engine).rounds_outputs


def profiles(target: Target) -> list[Target]:
    """Return the target in its profile, then in each more accurate one that its engine has."""
    known = engine(target.engine).profiles or (target.profile,)
    return [replace(target, profile=name) for name in known[known.index(target.profile) :]]


def fit_recipe(targets: Iterable[Target], recipe: Recipe) -> Recipe:
    """Return the recipe with texts as long as the targets are built for, unless it says buckets."""
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
    of = engine(target.engine)
    if not of.fixed_shapes:
        return target
    target = replace(target, profile=recipe.quantize.profile)
    if of.one_length:
        return replace(target, lengths=(longest,))
    compiled = of.finish is not None  # each length is a file of its own
    wished = recipe.shapes.buckets or (() if compiled else recipe.profile.sequence)
    return replace(target, lengths=tuple(sorted({*(n for n in wished if n < longest), longest})))


def observes(plan: "Plan", target: Target) -> bool:
    """Say whether a target's engine looks for the ranges of a plan itself."""
    return engine(target.engine).observe is not None and bool(plan.activations)


def observe(plan: "Plan", target: Target, model: "ir.Model", feeds: "Iterable[Feed]") -> "Plan":
    """Return the plan with the ranges of all tensors, for an engine that rounds every one.

    They are found in the engine's own float form of the canonical model: the same for all of its
    chips, so that several targets of a build observe once.
    """
    own = engine(target.engine).observe
    return own(plan, target, model, feeds) if own else plan


def answer(target: Target, artifact: Path, feeds: "Sequence[Feed]") -> "list[list[FloatArray]]":
    """Return what an artifact answers to each feed."""
    of = engine(target.engine)
    if of.answer_all:
        return of.answer_all(artifact, feeds)
    run = of.runner(artifact)
    return [run(feed) for feed in feeds]


def fit_plan(plan: "Plan", target: Target) -> "Plan":
    """Return the plan with int8 tables where an engine, or its oldest runtime, has no int4 ones."""
    needed = engine(target.engine).lookups.get(plan.embeddings)
    if plan.embeddings != "int4" or (needed and version(target.runtime) >= needed):
        return plan
    return replace(plan, embeddings="int8")

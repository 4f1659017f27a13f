"""What a pass is, how passes are found, and how they run.

A pass is a pure function Model -> Model that says what must hold before it runs (`needs`) and
what holds after it (`gives`). The file that it lives in is its registration: its folder is its
stage, its module's name is its name. A pass that decides by the plan or the target names them
as parameters.
"""

import importlib
import inspect
import pkgutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import onnx_ir as ir

from edgecompile.errors import NeedError, PromiseError
from edgecompile.facts import Fact, sentence
from edgecompile.graph import weight_bytes
from edgecompile.plugins import module_of
from edgecompile.step import Step


@dataclass(frozen=True, slots=True)
class Pass:
    """One rewrite, with what it needs, what it gives, and what it asks for besides the model."""

    name: str
    stage: str
    run: Callable[..., ir.Model]
    needs: frozenset[Fact] = frozenset()
    gives: frozenset[Fact] = frozenset()
    asks: tuple[str, ...] = ()


def rewrite(
    *, needs: Iterable[Fact] = (), gives: Iterable[Fact] = ()
) -> Callable[[Callable[..., ir.Model]], Pass]:
    """Turn a function Model -> Model into a pass named after its module."""

    def wrap(run: Callable[..., ir.Model]) -> Pass:
        folder, _, module = run.__module__.rpartition(".")
        stage = folder.removeprefix("edgecompile.").replace(".", "/")
        asks = tuple(inspect.signature(run).parameters)[1:]
        name = module.replace("_", "-")
        return Pass(name, stage, run, frozenset(needs), frozenset(gives), asks)

    return wrap


@cache
def passes_of(stage: str) -> tuple[Pass, ...]:
    """Return the passes that a stage's folder holds ("canonicalise", "lower/onnxruntime").

    A module that imports another stage's pass makes it one of its own stage too.
    """
    folder, _, engine = stage.partition("/")
    own = stage.replace("/", ".")
    package = importlib.import_module(module_of(engine, folder, own))
    names = sorted(m.name for m in pkgutil.iter_modules(package.__path__))
    modules = [importlib.import_module(f"{package.__name__}.{name}") for name in names]
    found = [v for m in modules for v in vars(m).values() if isinstance(v, Pass)]
    return tuple(replace(p, stage=stage) for p in found)


def in_order(passes: Iterable[Pass]) -> list[Pass]:
    """Put each pass after the passes that give what it needs; ties go by name."""
    waiting = sorted(passes, key=lambda p: p.name)
    order: list[Pass] = []
    while waiting:
        pending = {fact for p in waiting for fact in p.gives}
        ready = next((p for p in waiting if not p.needs & (pending - p.gives)), None)
        ready = ready or waiting[0]  # a circle: let the run name the broken need
        waiting.remove(ready)
        order.append(ready)
    return order


def run(
    passes: Iterable[Pass], model: ir.Model, context: Mapping[str, Any] | None = None
) -> Iterator[tuple[Step, ir.Model]]:
    """Run passes in order, checking every need and every promise; yield each result."""
    order = in_order(passes)
    for p in order:
        for fact in sorted(p.needs, key=sentence):
            if found := fact(model):
                givers = (q.name for q in order if fact in q.gives)
                raise NeedError(p.name, sentence(fact), found, givers)
        start = time.perf_counter()
        model = p.run(model, **{name: (context or {})[name] for name in p.asks})
        seconds = time.perf_counter() - start
        for fact in sorted(p.gives, key=sentence):
            if found := fact(model):
                raise PromiseError(p.name, sentence(fact), found)
        size = weight_bytes(model.graph.initializers.values())
        yield Step(p.stage, p.name, round(seconds, 4), len(model.graph), size), model

"""What all targets share: export, canonicalise, prune, run the float model, calibrate, decide."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

from edgecompile.cache.cached import Cache
from edgecompile.cache.inputs import read_model_inputs
from edgecompile.cache.keys import Keys
from edgecompile.plan import Plan
from edgecompile.recipe import Recipe
from edgecompile.target import Target
from edgecompile.trace import Trace

if TYPE_CHECKING:
    from pathlib import Path

    import onnx_ir as ir

    from edgecompile.data.dataset import Dataset
    from edgecompile.export.read_model import Source
    from edgecompile.graph import FloatArray
    from edgecompile.open_parts import OpenParts
    from edgecompile.parts import Part
    from edgecompile.step import Step


@dataclass(frozen=True, slots=True)
class Prepared:
    """What all targets of a build share.

    `dense` is the float model before anything was pruned, `model` what is left of it; `expected`
    are the dense one's answers to the golden samples. `tokenizer` is the tokenizer.json that goes
    with the model, empty where there is none; `vocabulary` and `pruning` say for the manifest what
    was cut. `steps` are those that led here. Of a build that takes this from the cache, the part's
    own model, which is no longer needed, is the canonical one.
    """

    source: "Source"
    part: "Part"
    recipe: Recipe
    dense: "ir.Model"
    model: "ir.Model"
    plan: Plan
    data: "Dataset"
    expected: "list[list[FloatArray]]"
    longest: int
    inputs: Mapping[str, str]
    tokenizer: bytes = b""
    vocabulary: Mapping[str, Any] = field(default_factory=dict)
    pruning: Mapping[str, Any] = field(default_factory=dict)
    steps: "Sequence[Step]" = ()

    @property
    def name(self) -> str:
        """Return the model's name, with that of the part."""
        return "-".join(filter(None, (self.source.name, self.part.name)))

    @property
    def outputs(self) -> list[str]:
        """Return the names of the model's outputs."""
        return [str(value.name) for value in self.model.graph.outputs]


@dataclass(frozen=True, slots=True)
class Shared:
    """What all targets share of one part of a model: made, or read, when a stage first asks.

    `name` is the model's, with that of the part; `floats` is `prepared` without a plan.
    """

    name: str
    keys: Keys
    floats: Callable[[], Prepared]
    prepared: Callable[[], Prepared]


def prepare(source: "Source", recipe: Recipe, trace: Trace, *, outputs: bool = False) -> Prepared:
    """Do once what all targets share, for a model that is one graph."""
    return next(prepare_parts(source, recipe, trace, outputs=outputs))


def prepare_parts(
    source: "Source",
    recipe: Recipe,
    trace: Trace,
    board: Target | None = None,
    *,
    quantized: bool = True,
    outputs: bool = False,
) -> Iterator[Prepared]:
    """Export a model; for each of its parts, do once what all targets share.

    Budgets of [prune] are spent on `board`. Not `quantized`, the plan is empty.
    `outputs` says that an engine rounds what Linears give: it is observed too.
    """
    keys = Keys(source, "", read_model_inputs(source), recipe, board)
    for part in share_parts(keys, Cache(trace)):
        yield part[outputs].prepared() if quantized else part[outputs].floats()


def share_parts(keys: Keys, cache: Cache) -> Iterator[Mapping[bool, Shared]]:
    """Say which parts a model has; `keys` are those of a model without parts.

    Each is there without and with what Linears give in its plan: what one target's engine asks for
    changes nothing of another's.
    """
    from edgecompile.cache.keep_json import read_json, write_json
    from edgecompile.open_parts import OpenParts

    parts = OpenParts(keys.source, keys.recipe, cache.trace)
    names = [""]  # a directory or file that is one graph, as most are
    if keys.source.route == "optimum":
        names = cache.cached("parts", "names", keys.floats(), parts.names, write_json, read_json)
    for index, name in enumerate(names):
        own = replace(keys, part=name)
        floats = cache.once(partial(_floats, parts, index, own, cache))
        shown = "-".join(filter(None, (keys.source.name, name)))
        planned = {outputs: replace(own, outputs=outputs) for outputs in (False, True)}
        yield {
            outputs: Shared(shown, of, floats, cache.once(partial(_prepared, floats, of, cache)))
            for outputs, of in planned.items()
        }


def _floats(parts: "OpenParts", index: int, keys: Keys, cache: Cache) -> Prepared:
    """Return the pruned float model, with what the dense one answers."""
    from edgecompile.cache.keep_floats import read_floats, write_floats
    from edgecompile.prepare_float import prepare_float

    source, recipe = keys.source, keys.recipe

    def make() -> Prepared:
        opened = parts.open(index)
        start = len(cache.trace.steps)
        made = prepare_float(source, opened, keys.inputs.model, recipe, cache.trace, keys.spent_on)
        return replace(made, steps=[*opened.steps, *cache.trace.steps[start:]])

    def read(folder: "Path") -> Prepared:
        return read_floats(folder, source, keys.part, recipe)

    return cache.cached("float", "the float model", keys.floats(), make, write_floats, read)


def _prepared(floats: Callable[[], Prepared], keys: Keys, cache: Cache) -> Prepared:
    """Return the float model with its plan."""
    from edgecompile.cache.keep_plan import Planned, read_planned, write_planned
    from edgecompile.plan_model import plan_model

    def make() -> Planned:
        given, start = floats(), len(cache.trace.steps)
        plan = plan_model(
            given.model, given.data, given.recipe, outputs=keys.outputs, trace=cache.trace
        )
        return Planned(plan, cache.trace.steps[start:])

    found = cache.cached("plan", "the plan", keys.plan(), make, write_planned, read_planned)
    given = floats()
    return replace(given, plan=found.plan, steps=[*given.steps, *found.steps])

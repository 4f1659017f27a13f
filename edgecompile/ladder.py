"""Below its gate, an artifact gets more precision where that gains most a millisecond.

The float model and each tensor's own loss are measured on calibration data; the golden samples
judge, and nothing else.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from edgecompile.plan import FLOAT, Plan
from edgecompile.quantize.order_moves import (
    RUNGS,
    TABLES,
    Move,
    only,
    order_moves,
    raise_precision,
    readers,
)
from edgecompile.target import REFERENCE, Target

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.evaluate.accuracy import Accuracy
    from edgecompile.graph import FloatArray

Lower = Callable[["ir.Model", Plan, Target], "ir.Model"]
Ask = Callable[[Plan], "list[list[FloatArray]]"]

SAMPLES, TOKENS = 8, 128
WEIGHT_TOKENS = 1
"""Weights alone are rounded for steps of one token, which wait for memory: those are timed."""


@dataclass(frozen=True, slots=True)
class Ladder:
    """What each tensor's Linears lose and take by rung, and the moves in their order.

    `lowest` is what the rung called "int8" is: another one where only weights are rounded.
    """

    lost: Mapping[str, Mapping[str, float]]
    ms: Mapping[str, Mapping[str, float]]
    moves: Sequence[Move]
    lowest: str = "int8"

    def table(self, model: "ir.Model") -> dict[str, Any]:
        """Return it as plain data, for the manifest."""
        rows = [
            {
                "tensor": name,
                "linears": readers(model, name) or [name],
                "lost_r2": self._named(row),
                "ms": self._named(self.ms.get(name, {})),
            }
            for name, row in self.lost.items()
        ]
        return {"tensors": rows, "moves": [asdict(move) for move in self.moves]}

    def _named(self, row: Mapping[str, float]) -> dict[str, float]:
        return {self.lowest if rung == "int8" else rung: value for rung, value in row.items()}

    def worst(self, model: "ir.Model") -> str:
        """Name the layers that lose most."""
        name, row = next(iter(self.lost.items()))
        layers = [f"'{layer}'" for layer in readers(model, name)] or [name]
        what = f"worst layer: {', '.join(layers)}, which in {self.lowest} alone"
        return f"{what} loses {row['int8']:.1%} of the output's R²"


def measure_ladder(  # noqa: PLR0917 - what to measure, for whom, and how to lower it
    model: "ir.Model",
    plan: Plan,
    board: Target,
    rungs: Sequence[str],
    feeds: "Sequence[Feed]",
    lower: Lower,
    ask: Ask | None = None,
) -> Ladder:
    """Measure sensitivities and times on this host, in a target's number formats.

    `rungs` are those between int8 and float that the target's engine has; weights alone have none.
    `ask` gives a plan's answers to the feeds where onnxruntime has not the engine's arithmetic.
    """
    from edgecompile.evaluate import accuracy
    from edgecompile.evaluate.sensitivity import measure_sensitivity
    from edgecompile.session import answer, session

    rungs = () if plan.weights else rungs
    forms = replace(REFERENCE, activation=board.activation, weight=board.weight)
    expected = answer(session(lower(model, FLOAT, forms)), feeds)

    def judge(tried: Plan) -> "Accuracy":
        answers = ask(tried) if ask else answer(session(lower(model, tried, forms)), feeds)
        return accuracy.compare("signal", answers, expected, feeds)

    tensors = [*plan.activations, *([TABLES] if plan.embeddings else [])]
    lost = measure_sensitivity(
        tensors, rungs, lambda tensor, rung: only(model, plan, tensor, rung), judge
    )
    ms = _milliseconds(model, plan, forms, rungs, lower)
    added = _added_bytes(model) if plan.embeddings == "int4" else None
    return Ladder(lost, ms, order_moves(lost, ms, added), plan.lowest)


def _added_bytes(model: "ir.Model") -> dict[str, float]:
    """Return what float costs more than int4, by tensor that Linears read, and int8 for tables."""
    from edgecompile.graph import linears, weight_tensor

    added: dict[str, float] = {}
    for linear in linears(model.graph):
        name, size = str(linear.x.name), weight_tensor(linear.weight).nbytes
        added[name] = added.get(name, 0) + size * 7 / 8
    lookups = (node for node in model.graph if node.op_type == "Gather" and not node.domain)
    tables = {node.inputs[0] for node in lookups if node.inputs[0] is not None}
    sizes = [weight_tensor(value).nbytes for value in tables if value.is_initializer()]
    added[TABLES] = max(sum(sizes) / 8, 1)
    return added


def _milliseconds(
    model: "ir.Model", plan: Plan, forms: Target, rungs: Sequence[str], lower: Lower
) -> dict[str, dict[str, float]]:
    """Sum up, by tensor and rung, what the Linears that read it take."""
    from edgecompile.graph import dim, linears
    from edgecompile.profile.measure_linears import measure_linears

    shapes: dict[str, list[tuple[int, int]]] = {}
    for linear in linears(model.graph):
        if linear.x.name in plan.activations:
            shape = (dim(linear.weight, 0), dim(linear.weight, 1))
            shapes.setdefault(str(linear.x.name), []).append(shape)
    kinds = [rung for rung in RUNGS if rung in ("int8", "float", *rungs)]
    every = [shape for row in shapes.values() for shape in row]
    tokens = WEIGHT_TOKENS if plan.weights else TOKENS
    times = measure_linears(
        every, tokens, kinds, lambda m, p: lower(m, replace(p, weights=plan.weights), forms)
    )
    return {
        name: {rung: sum(times[shape][rung] for shape in row) for rung in kinds}
        for name, row in shapes.items()
    }


def climb(
    model: "ir.Model",
    plan: Plan,
    moves: Sequence[Move],
    passes: Callable[[Plan], bool],
) -> tuple[Plan, int] | None:
    """Return the plan after the fewest moves with which it passes, None if none suffice.

    Doubles the number of moves until the gate holds, then halves the last stride.
    """
    failed, count = 0, 1
    while True:
        count = min(count, len(moves))
        raised = raise_precision(model, plan, moves[:count])
        if passes(raised):
            break
        if count == len(moves):
            return None
        failed, count = count, 2 * count
    while count - failed > 1:
        middle = (failed + count) // 2
        tried = raise_precision(model, plan, moves[:middle])
        if passes(tried):
            raised, count = tried, middle
        else:
            failed = middle
    return raised, count

"""What one Linear takes on each rung of the precision ladder, by its shape."""

import statistics
from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnx_ir as ir

from edgecompile.graph import add_initializer
from edgecompile.plan import Activation, Plan
from edgecompile.profile.measure_latency import time_in_turn
from edgecompile.session import session

REPEATS = 15

Shape = tuple[int, int]


def measure_linears(
    shapes: Iterable[Shape],
    tokens: int,
    rungs: Iterable[str],
    lower: Callable[[ir.Model, Plan], ir.Model],
) -> dict[Shape, dict[str, float]]:
    """Return the median milliseconds of a Linear [in, out] by rung: in turn, one thread, here.

    `lower` puts a graph and a plan into the target's form.
    """
    found = {}
    for shape in dict.fromkeys(shapes):
        model = _linear(*shape)
        opened = {rung: session(lower(model, _plan(shape[0], rung)), threads=1) for rung in rungs}
        runners = {rung: _runner(run) for rung, run in opened.items()}
        x = np.random.default_rng(0).normal(size=(1, tokens, shape[0])).astype(np.float32)
        times = time_in_turn(runners, {"x": x}, REPEATS)
        found[shape] = {rung: statistics.median(row) for rung, row in times.items()}
    return found


def _runner(opened: "object") -> Callable[[Mapping[str, np.ndarray]], object]:
    return lambda feed: opened.run(None, dict(feed))  # type: ignore[attr-defined]


def _linear(rows: int, columns: int) -> ir.Model:
    shapes = ((1, None, rows), (1, None, columns))
    x, y = (
        ir.Value(name=name, shape=ir.Shape(shape), type=ir.TensorType(ir.DataType.FLOAT))
        for name, shape in zip("xy", shapes, strict=True)
    )
    graph = ir.Graph([x], [], nodes=[], name="linear", opset_imports={"": 23})
    random = np.random.default_rng(0)
    weight = add_initializer(graph, "w.weight", random.normal(size=(rows, columns)).astype("f4"))
    node = ir.node("MatMul", [x, weight], name="w", outputs=[y])
    graph.append(node)
    graph.outputs.append(y)
    return ir.Model(graph, ir_version=11)


def _plan(width: int, rung: str) -> Plan:
    if rung == "float":
        return Plan()
    ones, zeros = np.ones(width, np.float32), np.zeros(width, np.float32)
    why = "timed" if rung == "dynamic" else ""
    return Plan({"x": Activation(-4.0, 4.0, ones, zeros, 0.5, why)})

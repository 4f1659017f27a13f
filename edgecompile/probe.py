"""What a foreign graph computes, seen on small inputs: the ground that recognition stands on.

Exporters write attention, Gelu or LayerNormalization in many ways. The canonicalising passes do
not trust the shape of a subgraph: they compare what it computed for these inputs with the formula
that they take it for. One run is as long as the model allows, because windows and limits show only
there; it keeps what does not depend on the tokens.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.errors import ChangedError, ModelError
from edgecompile.graph import Array, dim
from edgecompile.session import session

MASK = "attention_mask"
SIZES = ((2, 7), (1, 5), (3, 11))
"""Batch and sequence of each run: all different, so that shapes can be told from constants."""
FAR = (512, 256, 128, 64, 32)
"""Sequences of the far run, batch 1: the first that the model takes."""
TOLERANCE = 1e-4


@dataclass(frozen=True, slots=True)
class Probe:
    """The inputs of each run, and every tensor's array in each run, by name.

    `far` holds, of one long run, the inputs, the outputs, and what depends on the inputs' shapes
    and on attention_mask alone. It is empty where all shapes are fixed.
    """

    feeds: Sequence[Mapping[str, Array]]
    values: Mapping[str, tuple[Array, ...]]
    far: Mapping[str, Array] = field(default_factory=dict)

    def of(self, value: ir.Value | None) -> tuple[Array, ...] | None:
        """Return a tensor's arrays, one a run; None if it was not seen."""
        if value is None:
            return None
        if value.is_initializer() and value.const_value is not None:
            return (value.const_value.numpy(),) * len(self.feeds)
        return self.values.get(str(value.name))

    def everywhere(self, value: ir.Value | None) -> tuple[Array, ...] | None:
        """Return the same and, where it was kept, the long run's array after them."""
        seen = self.of(value)
        if seen is None or value is None or str(value.name) not in self.far:
            return seen
        return (*seen, self.far[str(value.name)])


def take_probe(model: ir.Model) -> Probe:
    """Run a graph on random inputs of a few sizes and keep all that it computes."""
    names = [str(v.name) for node in model.graph for v in node.outputs if v.name]
    try:
        feeds = [_feed(model, number, *size) for number, size in enumerate(SIZES)]
        run = session(model, outputs=names, optimise=False)
        runs = [run.run(names, feed, _silent()) for feed in feeds]
    except Exception as error:  # onnxruntime's errors share no public base class
        what = (str(error).strip().splitlines() or [type(error).__name__])[0]
        msg = f"onnxruntime does not run this graph on small inputs: {what}"
        raise ModelError(msg) from error
    values = {name: tuple(arrays) for name, *arrays in zip(names, *runs, strict=True)}
    values |= {name: tuple(feed[name] for feed in feeds) for name in feeds[0]}
    return Probe(feeds, values, _run_far(model))


def _run_far(model: ir.Model) -> dict[str, Array]:
    """Run the whole model on the longest sequence that it takes."""
    shapes = [value.shape for value in model.graph.inputs]
    if all(shape is not None and shape.is_static() for shape in shapes):
        return {}
    content = depends_on(model.graph)
    names = {str(v.name) for node in model.graph for v in node.outputs if content[v] <= {MASK}}
    wanted = sorted(names | {str(v.name) for v in model.graph.outputs})
    run = session(model, outputs=wanted, optimise=False)
    for sequence in FAR:
        feed = _feed(model, len(SIZES), 1, sequence)
        if MASK in feed:  # one mask for all, should the batch be fixed
            feed[MASK] = np.broadcast_to(feed[MASK][:1], feed[MASK].shape).copy()
        try:
            return dict(zip(wanted, run.run(wanted, feed, _silent()), strict=True)) | feed
        except Exception:  # noqa: S112 - too long for its tables, which onnxruntime says so
            continue
    return {}


def check_answers(model: ir.Model, probe: Probe) -> None:
    """Fail if a rewritten graph, in a form that onnxruntime runs, answers otherwise than before."""
    names = [str(value.name) for value in model.graph.outputs]
    feeds = list(probe.feeds)
    wanted = [[probe.values[name][number] for name in names] for number in range(len(feeds))]
    if probe.far:
        feeds.append({name: probe.far[name] for name in feeds[0]})
        wanted.append([probe.far[name] for name in names])
    run = session(model)
    for feed, truths in zip(feeds, wanted, strict=True):
        for name, answer, truth in zip(names, run.run(names, feed), truths, strict=True):
            if not close(answer, truth):
                raise ChangedError(name)


def close(a: Array | None, b: Array | None) -> bool:
    """Say whether two arrays hold the same numbers, up to float rounding."""
    if a is None or b is None or a.shape != b.shape:
        return False
    size = _size(b)
    return bool(np.isfinite(size) and np.allclose(a, b, rtol=TOLERANCE, atol=TOLERANCE * size))


def _size(array: Array) -> float:
    return float(np.sqrt(np.mean(np.square(array.astype(np.float64))))) if array.size else 0.0


def _silent() -> Any:
    """Return run options that keep onnxruntime's own report of an error off the terminal."""
    import onnxruntime as ort

    options = ort.RunOptions()
    options.log_severity_level = 4
    return options


def _feed(model: ir.Model, seed: int, batch: int, sequence: int) -> dict[str, Array]:
    random = np.random.default_rng(seed)
    return {str(value.name): _array(value, random, batch, sequence) for value in model.graph.inputs}


def _array(value: ir.Value, random: np.random.Generator, batch: int, sequence: int) -> Array:
    dims = list(value.shape) if value.shape is not None else [None, None]
    shape = tuple(
        d if isinstance(d, int) else (batch if axis == 0 else sequence)
        for axis, d in enumerate(dims)
    )
    dtype = value.dtype.numpy() if value.dtype is not None else np.dtype(np.float32)
    if dtype.kind == "f":
        return random.normal(size=shape).astype(dtype)
    if "mask" in str(value.name) or dtype.kind == "b":
        mask = random.integers(0, 2, shape)
        mask[..., 0] = 1
        return mask.astype(dtype)
    return random.integers(0, _rows(value), shape).astype(dtype)


def _rows(value: ir.Value) -> int:
    """Return how many different ids the tables that an input indexes can take."""
    tables = [node.inputs[0] for node in value.consumers() if node.op_type == "Gather"]
    rows = [dim(t, 0) for t in tables if t is not None and t.is_initializer() and t.shape]
    return min(rows, default=2)


def depends_on(graph: ir.Graph) -> dict[ir.Value, frozenset[str]]:
    """Return, for each tensor, the inputs whose content it depends on (their shapes aside)."""
    found: dict[ir.Value, frozenset[str]] = {v: frozenset({str(v.name)}) for v in graph.inputs}
    found |= {v: frozenset() for v in graph.initializers.values()}
    for node in graph:
        parts = [found.get(v, frozenset()) for v in node.inputs if v is not None]
        content = (
            frozenset().union(*parts) if node.op_type not in ("Shape", "Size") else frozenset()
        )
        for value in node.outputs:
            found[value] = content
    return found

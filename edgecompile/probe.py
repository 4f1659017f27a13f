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
from edgecompile.graph import Array
from edgecompile.probe_feeds import MASK, Sizes, random_feed, units
from edgecompile.session import session

SIZES = (Sizes(2, 7, 3, 6), Sizes(1, 5, 0, 4), Sizes(3, 11, 4, 9))
"""The sizes of each run: all different, so that shapes can be told from constants."""
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
    failures: list[Exception] = []
    for unit in units(model):
        try:
            feeds = [random_feed(model, i, sizes, unit) for i, sizes in enumerate(sizes_for(model))]
            run = session(model, outputs=names, optimise=False)
            runs = [run.run(names, feed, _silent()) for feed in feeds]
        except Exception as error:  # onnxruntime's errors share no public base class
            failures.append(error)
            continue
        values = {name: tuple(arrays) for name, *arrays in zip(names, *runs, strict=True)}
        values |= {name: tuple(feed[name] for feed in feeds) for name in feeds[0]}
        return Probe(feeds, values, _run_far(model, unit))
    what = (str(failures[0]).strip().splitlines() or [type(failures[0]).__name__])[0]
    msg = f"onnxruntime does not run this graph on small inputs: {what}"
    raise ModelError(msg) from failures[0]


def sizes_for(model: ir.Model) -> Sequence[Sizes]:
    """Return the sizes of the runs: two where only the batch is open, as with images."""
    axes = [d for v in model.graph.inputs for d in (v.shape[1:] if v.shape is not None else [None])]
    return SIZES[:2] if all(isinstance(d, int) for d in axes) else SIZES


def _run_far(model: ir.Model, unit: int) -> dict[str, Array]:
    """Run the whole model on the longest sequence that it takes."""
    shapes = [value.shape for value in model.graph.inputs]
    if all(shape is not None and shape.is_static() for shape in shapes):
        return {}
    content = depends_on(model.graph)
    names = {str(v.name) for node in model.graph for v in node.outputs if content[v] <= {MASK}}
    wanted = sorted(names | {str(v.name) for v in model.graph.outputs})
    run = session(model, outputs=wanted, optimise=False)
    for sequence in FAR:
        feed = random_feed(model, len(SIZES), Sizes(1, sequence, 0, sequence), unit)
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

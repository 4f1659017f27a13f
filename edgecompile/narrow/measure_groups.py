"""What each group costs at each number of units kept: the latency table, or that of bytes.

    a part: from what the group's writers read to what its readers give, cut to so many units

Groups of the same kind and shape cost the same: each such part is measured once.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from edgecompile.graph import op_histogram
from edgecompile.narrow.meters import Meter
from edgecompile.prune.remove_units import remove_units
from edgecompile.prune.segments import take_out
from edgecompile.session import run, session
from edgecompile.stages import lower_float

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.prune.walk_groups import Stop

Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class GroupCosts:
    """Costs by group's name, one a level; and the table of what was measured, for the manifest."""

    by_group: Mapping[str, Sequence[float]]
    table: Sequence[Mapping[str, Any]]


def measure_groups(
    model: "ir.Model",
    stops: "Sequence[Stop]",
    counts: Sequence[Sequence[int]],
    meter: Meter,
    feed: "Feed",
) -> GroupCosts:
    """Measure what each group's part costs when it keeps so many units; `counts` is by stop."""
    lowered = lower_float(model)
    measured: dict[Key, list[float]] = {}
    rows: dict[Key, dict[str, Any]] = {}
    by_group: dict[str, Sequence[float]] = {}
    for stop, levels in zip(stops, counts, strict=True):
        name = stop.group.name
        key = _key(_part(model, stop), stop)
        if key not in measured:
            parts = [_part(narrow_to(model, [stop], {name: count}), stop) for count in levels]
            given = _inputs(lowered, parts[-1], feed)
            measured[key] = meter.measure(parts, given)
            kept = dict(zip(map(str, levels), measured[key], strict=True))
            rows[key] = {"groups": [], "kind": stop.group.kind, "cost_by_units_kept": kept}
        rows[key]["groups"].append(name)
        by_group[name] = measured[key]
    return GroupCosts(by_group, list(rows.values()))


def narrow_to(model: "ir.Model", stops: "Sequence[Stop]", kept: Mapping[str, int]) -> "ir.Model":
    """Return a model that keeps so many units, whichever: costs do not depend on it."""
    keep = {name: range(count) for name, count in kept.items()}
    return remove_units(model, [stop.group for stop in stops], keep)


def _part(model: "ir.Model", stop: "Stop") -> "ir.Model":
    import onnx_ir as ir

    makers = {str(v.name): v for node in model.graph for v in node.outputs}
    reads = {name: makers[name].dtype or ir.DataType.FLOAT for name in stop.reads if name in makers}
    return take_out(model, reads, [str(reader.y.name) for reader in stop.readers])


def _inputs(lowered: "ir.Model", part: "ir.Model", feed: "Feed") -> "Feed":
    """Return what a part reads when the whole model runs on a feed."""
    wanted = [str(value.name) for value in part.graph.inputs]
    computed = [name for name in wanted if name not in feed]
    arrays = run(session(lowered, outputs=computed), computed, feed, 1) if computed else []
    found = dict(zip(computed, arrays, strict=True))
    return {name: found[name] if name in found else feed[name] for name in wanted}


def _key(part: "ir.Model", stop: "Stop") -> Key:
    """Return what tells parts apart: the kind of units, the operators, the weights' shapes."""
    shapes = sorted(str(v.shape) for v in part.graph.initializers.values())
    return stop.group.kind, stop.group.units, *op_histogram(part.graph).items(), *shapes

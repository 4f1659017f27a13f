"""Find what can be pruned, from the graph alone: channels between Linears, heads of attention.

Each Linear's outputs and each attention's heads are a candidate. Ownership spreads from it over
the graph (see `flood.py`) until it ends in the weights of Linears: those that write the units lose
columns, those that read them lose rows. A candidate that reaches anything else is refused.

    h = Gelu(x @ W1 + b1)    unit u owns column u of W1, entry u of b1,
    y = h @ W2 + b2          row u of W2
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
import onnx_ir as ir

from edgecompile.attention import heads_of
from edgecompile.graph import Linear, dim, linears
from edgecompile.prune.count_positions import edits_of
from edgecompile.prune.dependency import RULES
from edgecompile.prune.flood import Flood, Key, Mark, RefusedError, at
from edgecompile.prune.group import STAYS, Cut, Edit, Group, Owners, Resize
from edgecompile.prune.layer_names import common, name_of
from edgecompile.prune.measure_shapes import Shapes, fixed, measure_shapes


@dataclass(frozen=True, slots=True)
class Groups:
    """What can be pruned; and of every other candidate, in one line, why it cannot."""

    found: list[Group]
    refused: Mapping[str, str]


@dataclass(frozen=True, slots=True, eq=False)
class _Seed:
    """Where a flood starts: `owners` along an axis of a tensor."""

    name: str
    kind: str
    value: ir.Value
    axis: int
    owners: Owners


def find_groups(model: ir.Model) -> Groups:
    """Return all groups of a canonical graph, heads first, each in the graph's order."""
    shapes = measure_shapes(model)
    names = {linear.weight: name_of(linear) for linear in reversed(list(linears(model.graph)))}
    found: dict[str, Group] = {}
    refused: dict[str, str] = {}
    reached: set[ir.Value] = set()
    for seed in (*_heads(model.graph, shapes), *_channels(model.graph)):
        if seed.value in reached:
            continue
        try:
            flood = Flood(RULES, shapes, seed.kind, int(seed.owners.max()) + 1)
            flood.run(seed.value, seed.axis, seed.owners)
            group = _group(seed, flood, names)
        except RefusedError as reason:
            refused.setdefault(seed.name, str(reason))
            continue
        reached |= {value for value, _reader, _port in flood.marks}
        if group.name in found:  # as of layers whose biases are one and the same
            group = replace(group, name=str(_maker(seed).name))
        found[group.name] = group
    return Groups(list(found.values()), refused)


def _heads(graph: ir.Graph, shapes: Shapes) -> Iterator[_Seed]:
    """Yield each canonical Attention, and each Softmax over scores [B, heads, S, S]."""
    for node in graph:
        if node.domain or node.op_type not in ("Attention", "Softmax"):
            continue
        y, name = node.outputs[0], str(node.name)
        axes = shapes.of(y) or ()
        width = fixed(axes[{"Attention": 2, "Softmax": 1}[node.op_type]]) if len(axes) > 2 else None
        if node.op_type == "Attention" and width is not None:
            heads = np.arange(heads_of(node))
            yield _Seed(name, "heads", y, 2, np.repeat(heads, width // len(heads)))
        elif node.op_type == "Softmax" and len(axes) == 4 and width is not None:
            yield _Seed(name, "heads", y, 1, np.arange(width))


def _channels(graph: ir.Graph) -> Iterator[_Seed]:
    """Yield each Linear."""
    for linear in linears(graph):
        width = np.arange(dim(linear.weight, 1))
        yield _Seed(name_of(linear), "channels", _written(linear), -1, width)


def _written(linear: Linear) -> ir.Value:
    return linear.matmul.outputs[0]


def _group(seed: _Seed, flood: Flood, names: Mapping[ir.Value, str]) -> Group:
    """Put down what a flood has found, its units numbered as their readers have them."""
    weights = [key for key in flood.marks if key[0] in names]
    readers = [key for key in weights if _mark(flood, key).axis == 0]
    if not readers:
        msg = f"no Linear reads what {at(_maker(seed))} gives"
        raise RefusedError(msg)
    order = _in_order(_mark(flood, readers[0]).owners)
    units = len(order)
    if units < 2:
        msg = f"{at(_maker(seed))} has one that all others depend on"
        raise RefusedError(msg)
    block = len(_mark(flood, readers[0]).owners) // units
    number = np.full(len(flood.merged) + 1, STAYS)
    number[order] = np.arange(units)
    for reader in readers:
        owners = number[_mark(flood, reader).owners]
        if not np.array_equal(owners, np.repeat(np.arange(units), len(owners) // units)):
            msg = f"the rows of '{reader[0].name}' are not in their order"
            raise RefusedError(msg)
    named = [names[key[0]] for key in weights]
    return Group(
        name=common(named) or seed.name if seed.kind == "heads" else seed.name,
        kind=seed.kind,
        units=units,
        cuts=tuple(_cuts(flood, number)),
        edits=tuple(_numbered(edit, number) for edit in edits_of(flood)),
        resizes=tuple(_resizes(flood, number)),
        readers=tuple(str(key[0].name) for key in readers),
        block=block,
    )


def _maker(seed: _Seed) -> ir.Node:
    node = seed.value.producer()
    if node is None:
        msg = f"'{seed.value.name}' is not computed"
        raise RefusedError(msg)
    return node


def _mark(flood: Flood, key: Key) -> Mark:
    mark = flood.get(key)
    if mark is None:
        msg = f"'{key[0].name}' was not reached"
        raise RefusedError(msg)
    return mark


def _in_order(owners: Owners) -> Owners:
    """Return the units, the one that comes first first."""
    units, first = np.unique(owners[owners != STAYS], return_index=True)
    found: Owners = units[np.argsort(first)]
    return found


def _numbered(edit: Edit, number: Owners) -> Edit:
    return replace(edit, owners=number[edit.owners])


def _cuts(flood: Flood, number: Owners) -> Iterator[Cut]:
    """Yield each initializer that units own a part of, with all that read it in the same way."""
    found: dict[tuple[str, int, bytes], Cut] = {}
    for key in flood.marks:
        value, reader, port = key
        if not value.is_initializer():
            continue
        mark = _mark(flood, key)
        uses = frozenset(
            [(str(reader.name), port)]
            if reader is not None
            else [(str(node.name), index) for node, index in value.uses()]
        )
        owners = number[mark.owners]
        same = (str(value.name), mark.axis, owners.tobytes())
        before = found[same].uses if same in found else frozenset()
        found[same] = Cut(str(value.name), mark.axis, owners, before | uses)
    yield from found.values()


def _resizes(flood: Flood, number: Owners) -> Iterator[Resize]:
    for key in flood.marks:
        if not key[0].is_initializer():
            mark = _mark(flood, key)
            yield Resize(str(key[0].name), mark.axis, number[mark.owners])

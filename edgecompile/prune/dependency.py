"""How ownership of positions goes through each operator: one small function an operator.

A rule reads the marks at some ports of a node and puts them at the others, in both directions. It
refuses where an operator mixes what units own.
"""

from collections.abc import Callable, Sequence
from math import prod

import numpy as np

from edgecompile.graph import constant
from edgecompile.prune.flood import Mark, Ports, Rule
from edgecompile.prune.group import STAYS, Owners
from edgecompile.prune.measure_shapes import Size, fixed
from edgecompile.prune.reshaping import blocks

Y = ~0
"""The port of a node's first output."""


def elementwise(ports: Ports) -> None:
    """Couple all operands and the result; some broadcast."""
    for port, mark in list(ports.marked()):
        axis = mark.axis - ports.rank(port)
        for other in ports:
            ports.put(other, axis, mark.owners)


def shape_only(_ports: Ports) -> None:
    """Let go: what reads a size alone follows by itself."""


def matmul(ports: Ports) -> None:
    """Couple [..., M, K] @ [..., K, N] -> [..., M, N]: what goes of K goes of both."""
    if min(ports.rank(0), ports.rank(1)) < 2:
        ports.refuse("multiplies a vector")
    same = {(0, -1): [(1, -2)], (1, -2): [(0, -1)], (0, -2): [(Y, -2)], (1, -1): [(Y, -1)]}
    same |= {(Y, -2): [(0, -2)], (Y, -1): [(1, -1)]}
    for port, mark in list(ports.marked()):
        axis = mark.axis - ports.rank(port)
        for other, where in same.get((port, axis), [(p, axis) for p in (0, 1, Y)]):
            ports.put(other, where, mark.owners)


def attention(ports: Ports) -> None:
    """Couple the heads of q, k, v and y [B, S, heads * d] and of the bias [B, heads, S, S]."""
    heads = ports.node.attributes["q_num_heads"].as_int()
    for port, mark in list(ports.marked()):
        owners = mark.owners
        if port != 3:
            if mark.axis != 2:
                ports.refuse("has them along its tokens")
            owners = fold(ports, mark.owners, [heads, len(mark.owners) // heads], 0)
        elif mark.axis != 1:
            ports.refuse("has them along its tokens")
        for other in (0, 1, 2, Y):
            width = _size(ports, other, 2)
            ports.put(other, 2, np.repeat(owners, width // heads))
        if 3 in list(ports):
            ports.put(3, -3, owners)


def softmax(ports: Ports) -> None:
    """Pass any axis but that of the sum."""
    _along(ports, (0, Y), _axis(ports, -1), "normalises over them")


def layer_norm(ports: Ports) -> None:
    """Pass any axis before those that are normalised over."""
    first = _axis(ports, -1)
    for _port, mark in list(ports.marked()):
        if mark.axis >= first:
            ports.refuse("normalises over them")
        for other in (0, Y):
            ports.put(other, mark.axis, mark.owners)


def transpose(ports: Ports) -> None:
    """Pass x axis perm[i] as y axis i."""
    perm = ports.node.attributes.get("perm")
    order = list(perm.as_ints()) if perm else list(range(ports.rank(0)))[::-1]
    for port, mark in list(ports.marked()):
        if port == Y:
            ports.put(0, order[mark.axis], mark.owners)
        else:
            ports.put(Y, order.index(mark.axis), mark.owners)


def reshape(ports: Ports) -> None:
    """Merge an axis with its neighbours, or split it into several."""
    before, after = ports.axes(0), ports.axes(Y)
    for x_axes, y_axes in blocks(before, after):
        for port, other, axes, others, dims, other_dims in (
            (0, Y, x_axes, y_axes, before, after),
            (Y, 0, y_axes, x_axes, after, before),
        ):
            mark = ports.get(port)
            if mark is None or mark.axis not in axes:
                continue
            if len(axes) == len(others) == 1:
                ports.put(other, others[0], mark.owners)
                continue
            flat = _spread(ports, mark, axes, dims)
            _put_folded(ports, other, others, flat, other_dims)


def _put_folded(
    ports: Ports, port: int, axes: Sequence[int], flat: Owners, sizes: Sequence[Size]
) -> None:
    """Put owners of several axes' elements at that axis along which they differ."""
    inner = _inner(ports, axes, sizes)
    dims = [fixed(sizes[axis]) or len(flat) for axis in inner]
    if prod(dims) != len(flat):
        ports.refuse("mixes them with an axis of open size")
    wide = [i for i, size in enumerate(dims) if size > 1]
    exact = next((i for i in wide if _constant_along(flat, dims, i)), wide[0] if wide else 0)
    ports.put(port, inner[exact], fold(ports, flat, dims, exact))


def _inner(ports: Ports, axes: Sequence[int], sizes: Sequence[Size]) -> Sequence[int]:
    """Return the axes after those of open size, over which owners repeat; the last one at least."""
    opened = [i for i, axis in enumerate(axes) if fixed(sizes[axis]) is None]
    inner = axes[opened[-1] + 1 :] if opened else axes
    if not inner and len(axes) > 1:
        ports.refuse("mixes them with an axis of open size")
    return inner or axes


def _spread(ports: Ports, mark: Mark, axes: Sequence[int], sizes: Sequence[Size]) -> Owners:
    """Return the owner of each element of several axes."""
    inner = _inner(ports, axes, sizes)
    if mark.axis not in inner:
        ports.refuse("mixes them with an axis of open size")
    dims = [len(mark.owners) if axis == mark.axis else fixed(sizes[axis]) for axis in inner]
    shape = [-1 if axis == mark.axis else 1 for axis in inner]
    return np.broadcast_to(mark.owners.reshape(shape), [size or 0 for size in dims]).reshape(-1)


def _constant_along(flat: Owners, dims: Sequence[int], axis: int) -> bool:
    rows = np.moveaxis(flat.reshape(dims), axis, 0).reshape(dims[axis], -1)
    return bool(np.all(rows == rows[:, :1]))


def fold(ports: Ports, flat: Owners, dims: Sequence[int], axis: int) -> Owners:
    """Return the owners along one axis; heads that share a place there become one unit."""
    rows = np.moveaxis(flat.reshape(dims), axis, 0).reshape(dims[axis], -1)
    if ports.flood.kind != "heads" and not np.all(rows == rows[:, :1]):
        ports.refuse("splits them into heads")
    for row in rows:
        owned = np.unique(row[row != STAYS])
        for other in owned[1:]:
            ports.flood.merge(int(owned[0]), int(other))
    found: Owners = rows.max(axis=1)
    return np.where(found == STAYS, STAYS, ports.flood.merged[found])


def unsqueeze(ports: Ports) -> None:
    """Pass all axes; new ones of size 1 come in between."""
    new = _axes(ports, ports.rank(Y))
    _renumber(ports, [axis for axis in range(ports.rank(Y)) if axis not in new])


def squeeze(ports: Ports) -> None:
    """Pass all axes but those of size 1 that go."""
    gone = _axes(ports, ports.rank(0))
    kept = [axis for axis in range(ports.rank(0)) if axis not in gone]
    _renumber(ports, kept, forwards=False)


def _renumber(ports: Ports, kept: Sequence[int], *, forwards: bool = True) -> None:
    """`kept` numbers, in the tensor with more axes, those that the other one has too."""
    few, many = (0, Y) if forwards else (Y, 0)
    for port, mark in list(ports.marked()):
        if port == few:
            ports.put(many, kept[mark.axis], mark.owners)
        elif port == many and mark.axis in kept:
            ports.put(few, list(kept).index(mark.axis), mark.owners)


def reduce(ports: Ports) -> None:
    """Pass any axis that is not summed over."""
    over = _axes(ports, ports.rank(0))
    keeps = "keepdims" not in ports.node.attributes or ports.node.attributes["keepdims"].as_int()
    for port, mark in list(ports.marked()):
        if port == 0 and mark.axis in over:
            ports.refuse("reduces over them")
        if keeps:
            ports.put(Y if port == 0 else 0, mark.axis, mark.owners)
    if not keeps:
        _renumber(ports, [a for a in range(ports.rank(0)) if a not in over], forwards=False)


def concat(ports: Ports) -> None:
    """Couple all inputs along other axes; along this one, they are side by side."""
    axis = _axis(ports, 0, Y)
    _side_by_side(ports, axis, list(range(len(ports.node.inputs))), Y)


def split(ports: Ports) -> None:
    """Do as Concat does, the other way round."""
    axis = _axis(ports, 0)
    _side_by_side(ports, axis, [~i for i in range(len(ports.node.outputs))], 0)


def _side_by_side(ports: Ports, axis: int, parts: Sequence[int], whole: int) -> None:
    for _port, mark in list(ports.marked()):
        if mark.axis != axis:
            for other in (*parts, whole):
                ports.put(other, mark.axis, mark.owners)
    if not any(mark.axis == axis for _port, mark in ports.marked()):
        return
    starts = np.cumsum([0, *(_size(ports, part, axis) for part in parts)])
    total = np.full(starts[-1], STAYS)
    for part, start, stop in zip(parts, starts[:-1], starts[1:], strict=True):
        if (known := ports.get(part)) is not None:
            total[start:stop] = known.owners
    ports.put(whole, axis, total)
    joined = ports.get(whole)
    if joined is not None:
        for part, start, stop in zip(parts, starts[:-1], starts[1:], strict=True):
            ports.put(part, axis, joined.owners[start:stop])


def take_slice(ports: Ports) -> None:
    """Pass a range of the positions along some axes, all of them along the others."""
    cuts = {axis: (start, stop) for _i, axis, start, stop in slices(ports)}
    for port, mark in list(ports.marked()):
        if mark.axis not in cuts:
            ports.put(Y if port == 0 else 0, mark.axis, mark.owners)
            continue
        length, (start, stop) = _size(ports, 0, mark.axis), cuts[mark.axis]
        if start is None:
            ports.refuse("takes a part of them that is not known")
        kept = slice(*slice(start, stop).indices(length)[:2])
        if port == 0:
            ports.put(Y, mark.axis, mark.owners[kept])
        else:
            total = np.full(length, STAYS)
            total[kept] = mark.owners
            ports.put(0, mark.axis, total)


def slices(ports: Ports) -> list[tuple[int, int, int | None, int | None]]:
    """Return a Slice's (entry, axis, start, stop); None, also of a step but 1, is not known."""
    node = ports.node
    arrays = [constant(v) for v in node.inputs[1:]]
    starts, stops, axes, steps = (*arrays, None, None)[:4]
    count = next((len(a) for a in arrays if a is not None), 0)
    found: list[tuple[int, int, int | None, int | None]] = []
    for i in range(count):
        axis = i if axes is None else int(axes[i]) % ports.rank(0)
        whole_steps = len(node.inputs) < 5 or (steps is not None and steps[i] == 1)
        if starts is not None and stops is not None and whole_steps:
            found.append((i, axis, int(starts[i]), int(stops[i])))
        else:
            found.append((i, axis, None, None))
    return found


def gather(ports: Ports) -> None:
    """Pass any axis but that of the rows, which are picked by number."""
    axis = _axis(ports, 0)
    added = ports.rank(1) - 1
    for port, mark in list(ports.marked()):
        if port == 0 and mark.axis == axis:
            ports.refuse("picks some of them")
        if port == 0:
            ports.put(Y, mark.axis + (added if mark.axis > axis else 0), mark.owners)
        elif port == Y and axis <= mark.axis <= axis + added:
            ports.refuse("makes them by number")
        elif port == Y:
            ports.put(0, mark.axis - (added if mark.axis > axis else 0), mark.owners)


def gather_elements(ports: Ports) -> None:
    """Couple table, numbers and result along any axis but that of the numbers."""
    _along(ports, (0, 1, Y), _axis(ports, 0), "picks some of them")


def expand(ports: Ports) -> None:
    """Pass the axes that do not grow."""
    for port, mark in list(ports.marked()):
        ports.put(Y if port == 0 else 0, mark.axis - ports.rank(port), mark.owners)


def convolve(ports: Ports) -> None:
    """Couple channels with their filters, if the Conv is depthwise; others mix channels."""
    group = ports.node.attributes.get("group")
    weight = ports.axes(1)
    if fixed(weight[1]) != 1 or group is None or group.as_int() != fixed(weight[0]):
        ports.refuse("mixes channels")
    for port, mark in list(ports.marked()):
        if mark.axis != (1 if port in (0, Y) else 0):
            ports.refuse("moves along them")
        for other in ports:
            ports.put(other, 1 if other in (0, Y) else 0, mark.owners)


def _along(ports: Ports, among: Sequence[int], axis: int, why: str) -> None:
    for _port, mark in list(ports.marked()):
        if mark.axis == axis:
            ports.refuse(why)
        for other in among:
            ports.put(other, mark.axis, mark.owners)


def _axis(ports: Ports, default: int, port: int = 0) -> int:
    attribute = ports.node.attributes.get("axis")
    return (attribute.as_int() if attribute else default) % ports.rank(port)


def _axes(ports: Ports, rank: int) -> set[int]:
    """Return the axes that an attribute or an input names; all axes where nothing does."""
    attribute = ports.node.attributes.get("axes")
    array = constant(ports.node.inputs[1]) if len(ports.node.inputs) > 1 else None
    if attribute is None and array is None and len(ports.node.inputs) > 1:
        ports.refuse("has axes that are not known")
    named = list(attribute.as_ints()) if attribute else range(rank) if array is None else array
    return {int(axis) % rank for axis in named}


def _size(ports: Ports, port: int, axis: int) -> int:
    size = fixed(ports.axes(port)[axis])
    if size is None:
        ports.refuse(f"has a tensor '{ports.value(port).name}' of unknown size")
    return size


def _rules() -> dict[str, Rule]:
    named: list[tuple[Callable[[Ports], None], str]] = [
        (elementwise, "Add Sub Mul Div Pow Max Min Where Mod Equal Greater Less And Or Not"),
        (elementwise, "GreaterOrEqual LessOrEqual Cast Clip Abs Neg Exp Log Sqrt Reciprocal"),
        (elementwise, "Erf Tanh Sigmoid Relu LeakyRelu Elu Selu Celu Gelu Softplus Sign"),
        (
            elementwise,
            "HardSigmoid HardSwish Mish Softsign Identity Sin Cos Floor Ceil",
        ),
        (elementwise, "IsNaN IsInf Xor PRelu Swish ThresholdedRelu Round"),
        (shape_only, "Shape Size"),
        (matmul, "MatMul"),
        (attention, "Attention"),
        (softmax, "Softmax LogSoftmax"),
        (layer_norm, "LayerNormalization RMSNormalization"),
        (transpose, "Transpose"),
        (reshape, "Reshape"),
        (unsqueeze, "Unsqueeze"),
        (squeeze, "Squeeze"),
        (reduce, "ReduceMean ReduceSum ReduceMax ReduceMin ReduceL2 ReduceL1 ReduceSumSquare"),
        (concat, "Concat"),
        (split, "Split"),
        (take_slice, "Slice"),
        (gather, "Gather"),
        (gather_elements, "GatherElements"),
        (expand, "Expand"),
        (convolve, "Conv"),
    ]
    return {operator: rule for rule, operators in named for operator in operators.split()}


RULES = _rules()
"""The rule of each operator."""

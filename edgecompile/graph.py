"""Views of a graph that several stages share: constants, producers, Linears.

A *Linear* is `Y = X @ W (+ b)` with W [in, out] and b [out] as initializers: the canonical
graph writes it as MatMul, then Add.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
from onnx_ir.passes.common import NameFixPass, RemoveUnusedNodesPass, TopologicalSortPass

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[Any]
"""float32, where no other type is stated."""

MICROSOFT = "com.microsoft"
"""The domain of onnxruntime's own operators."""
LITERT = "edgecompile"
"""The domain of FullyConnected: no runtime but LiteRT has it."""
RSQRT = -0.5
"""The power that LiteRT has an operator for."""


@dataclass(frozen=True, slots=True)
class Linear:
    """One Linear of a graph; `bias` and `add` are None together."""

    matmul: ir.Node
    add: ir.Node | None
    bias: ir.Value | None

    @property
    def name(self) -> str:
        """Return the layer's name: that of its weight or, as exporters rename weights, its bias."""
        named = str(self.weight.name)
        if self.bias is not None and not named.endswith(".weight"):
            named = str(self.bias.name)
        return named.removesuffix(".weight").removesuffix(".bias")

    @property
    def x(self) -> ir.Value:
        """Return the activation that comes in: [..., in]."""
        return present(self.matmul.inputs[0])

    @property
    def weight(self) -> ir.Value:
        """Return the weight: [in, out]."""
        return present(self.matmul.inputs[1])

    @property
    def y(self) -> ir.Value:
        """Return the activation that goes out: [..., out]."""
        return (self.add or self.matmul).outputs[0]

    @property
    def nodes(self) -> list[ir.Node]:
        """Return the one or two nodes."""
        return [self.matmul] if self.add is None else [self.matmul, self.add]


def present(value: ir.Value | None) -> ir.Value:
    """Return an input that the operator's schema demands."""
    if value is None:
        msg = "a required input is missing"
        raise ValueError(msg)
    return value


def constant(value: ir.Value | None) -> Array | None:
    """Return the array of an initializer, or None when the value is computed."""
    if value is None or value.const_value is None or not value.is_initializer():
        return None
    return value.const_value.numpy()


def weight_of(linear: Linear) -> FloatArray:
    """Return a Linear's weight, [in, out]."""
    return weight_array(linear.weight)


def weight_array(value: ir.Value) -> FloatArray:
    """Return the array of an initializer."""
    return weight_tensor(value).numpy()


def weight_tensor(value: ir.Value) -> ir.TensorProtocol:
    """Return the tensor of an initializer."""
    if value.const_value is None:
        msg = f"initializer '{value.name}' holds no array"
        raise ValueError(msg)
    return value.const_value


def dim(value: ir.Value, axis: int) -> int:
    """Return a dimension that is known to be a number."""
    size = value.shape[axis] if value.shape is not None else None
    if not isinstance(size, int):
        msg = f"dimension {axis} of '{value.name}' is {size}, not a number"
        raise TypeError(msg)
    return size


def sizes(value: ir.Value) -> list[int]:
    """Return all dimensions of a tensor whose shape is known; [] of one without a shape."""
    return [dim(value, axis) for axis in range(len(value.shape or ()))]


def scalar(value: ir.Value | None) -> float | None:
    """Return the number that a one-element initializer holds, else None."""
    array = constant(value)
    return None if array is None or array.size != 1 else float(array.reshape(()))


def sole_consumer(value: ir.Value, *op_types: str) -> ir.Node | None:
    """Return the one node that reads a value, if it is of one of these types."""
    users = value.consumers()
    if len(users) != 1 or value.is_graph_output() or users[0].op_type not in op_types:
        return None
    return users[0]


def slices_rows(node: ir.Node) -> bool:
    """Say whether a Slice takes rows alone."""
    axes = constant(node.inputs[3]) if len(node.inputs) > 3 else None
    return node.op_type == "Slice" and axes is not None and axes.tolist() == [0]


def linears(graph: ir.Graph) -> Iterator[Linear]:
    """Yield every Linear, in graph order."""
    for node in graph:
        if node.op_type != "MatMul" or node.domain:
            continue
        weight = node.inputs[1]
        if weight is None or not weight.is_initializer() or weight.shape is None:
            continue
        if len(weight.shape) == 2 and constant(node.inputs[0]) is None:
            yield _with_bias(node, dim(weight, 1))


def _with_bias(matmul: ir.Node, width: int) -> Linear:
    add = sole_consumer(matmul.outputs[0], "Add")
    if add is not None:
        for value in add.inputs:
            if value is not None and value.is_initializer() and value.shape == (width,):
                return Linear(matmul, add, value)
    return Linear(matmul, None, None)


def lazy_tensor(shape: Sequence[int], compute: Callable[[], FloatArray]) -> ir.LazyTensor:
    """Return a float32 tensor that is computed each time it is read, and not kept.

    So a pass may change every weight without a second copy of the model.
    """
    return ir.LazyTensor(lambda: ir.Tensor(compute()), ir.DataType.FLOAT, ir.Shape(shape))


def add_initializer(graph: ir.Graph, name: str, array: Array | ir.LazyTensor) -> ir.Value:
    """Put an array into a graph under a name that is still free."""
    free, count = name, 0
    while free in graph.initializers:
        count += 1
        free = f"{name}_{count}"
    tensor: ir.TensorProtocol = (
        array if isinstance(array, ir.LazyTensor) else ir.Tensor(np.asarray(array, order="C"))
    )
    tensor.name = free
    value = ir.Value(
        name=free,
        shape=ir.Shape(tensor.shape.numpy()),
        type=ir.TensorType(tensor.dtype),
        const_value=tensor,
    )
    graph.register_initializer(value)
    return value


def add_int64(graph: ir.Graph, *numbers: int) -> ir.Value:
    """Return an int64 vector; equal ones are shared."""
    name = "int64_" + "_".join(map(str, numbers)).replace("-", "minus")
    if name in graph.initializers:
        return graph.initializers[name]
    return add_initializer(graph, name, np.array(numbers, np.int64))


def name_outputs(nodes: Sequence[ir.Node]) -> Sequence[ir.Node]:
    """Name what each node of one output makes as the node, so that a plan can tell; return them."""
    for node in nodes:
        node.outputs[0].name = node.name
    return nodes


def substitute(graph: ir.Graph, nodes: Sequence[ir.Node], new: Sequence[ir.Node]) -> None:
    """Put `new` nodes in the place of `nodes`; the last one's first output keeps its name."""
    old, y = nodes[-1].outputs[0], new[-1].outputs[0]
    name, y.shape, y.type = old.name, old.shape, old.type
    graph.insert_before(nodes[-1], list(new))
    ir.convenience.replace_all_uses_with(old, y, replace_graph_outputs=True)
    graph.remove(list(reversed(nodes)), safe=True)
    y.name = name


def replace_value(old: ir.Value, new: ir.Value) -> None:
    """Let every reader of `old` read `new`; where `old` is a graph output, `new` takes its name."""
    if old.is_graph_output():
        name, old.name = old.name, f"{old.name}.replaced"
        new.name, new.shape, new.type = name, old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)


def sweep(model: ir.Model) -> ir.Model:
    """Remove what nothing reads any more, sort, make names unique, in place; return the model."""
    RemoveUnusedNodesPass()(model)
    TopologicalSortPass()(model)
    NameFixPass()(model)
    return model


def op_histogram(graph: ir.Graph) -> dict[str, int]:
    """Count nodes by operator, sorted by name."""
    counts: dict[str, int] = {}
    for node in graph:
        name = f"{node.domain}.{node.op_type}" if node.domain else node.op_type
        counts[name] = counts.get(name, 0) + 1
    return dict(sorted(counts.items()))


def weight_bytes(values: Iterable[ir.Value]) -> int:
    """Return the bytes that initializers take."""
    return sum(v.const_value.nbytes for v in values if v.const_value is not None)

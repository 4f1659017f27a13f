"""Round every tensor: 8-bit weights, activations of 8 or 16 bits, as the HTP computes.

    y = op(x)   ->   y = DequantizeLinear(QuantizeLinear(op(DequantizeLinear(q_x)), scale, zero))

A Linear's weight is int8, a scale a column; its bias and a LayerNormalization's are int32 in the
unit of the product; a LayerNormalization's scale is uint8 (the HTP refuses int8 there). Where an
operator reads 8 bits of what was made with 16, a pair of its own converts.
"""

from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgecompile.activation_widths import choose_widths, moves, source
from edgecompile.facts import INT8, linears_are_int8, nodes_are_placed
from edgecompile.graph import Array, FloatArray, add_initializer, present, sweep, weight_array
from edgecompile.lower.onnxruntime.quantize_linears import EQUALISED_SUFFIX
from edgecompile.lower.qnn.apply_equalisation import FREE, plain
from edgecompile.lower.qnn.flatten_tokens import FLAT
from edgecompile.passes import rewrite
from edgecompile.placement import EMBED, ENCODER, place, place_of
from edgecompile.plan import Activation, Plan, affine
from edgecompile.rounding import quantize_weight
from edgecompile.target import Target

LARGEST = 2**31 - 1


@rewrite(needs=[nodes_are_placed], gives=[linears_are_int8])
def quantize_tensors(model: ir.Model, plan: Plan, target: Target) -> ir.Model:
    """Put a QuantizeLinear and a DequantizeLinear behind every operator; none without ranges.

    What runs on the host stays as it is.
    """
    model = model.clone()
    model.metadata_props[INT8] = "yes"
    if not plan.tensors:
        return model
    widths = choose_widths(model.graph, target.profile)
    free = model.metadata_props.get(FREE, "").splitlines()
    activations = {n: a if n in free else plain(a) for n, a in plan.activations.items()}
    hosted = {node for node in model.graph if place_of(node) == EMBED}
    nodes = [node for node in model.graph if node not in hosted]
    values = [value for node in nodes for value in (*node.inputs, *node.outputs)]
    sources = {value: source(value) for value in values if value is not None}
    writer = _Writer(model.graph, plan, widths, activations, sources)
    moving = {node for node in nodes if moves(node)}
    for node in nodes:
        writer.write(node, moving=node in moving)
    for node in model.graph:
        place(node, EMBED if node in hosted else ENCODER)  # those that were put in too
    return sweep(model)


@dataclass(slots=True)
class _Writer:
    """The graph that is changed, and each tensor's rounded form by its bits."""

    graph: ir.Graph
    plan: Plan
    widths: dict[ir.Node, int]
    activations: dict[str, Activation]
    sources: dict[ir.Value, ir.Value]
    rounded: dict[tuple[ir.Value, int], ir.Value] = field(default_factory=dict)
    made: dict[ir.Value, int] = field(default_factory=dict)

    def write(self, node: ir.Node, *, moving: bool) -> None:
        """Let a node read rounded tensors, and round what it gives."""
        y = node.outputs[0]
        if y.dtype not in (None, ir.DataType.FLOAT):
            return
        bits = self.made.get(present(node.inputs[0]), 16) if moving else self.widths[node]
        if node.op_type == "Gemm":
            self._write_linear(node, bits)
        elif node.op_type == "LayerNormalization":
            self._write_norm(node, bits)
        else:
            for index, value in enumerate(node.inputs):
                if value is not None and _is_float(value):
                    node.replace_input_with(index, self._read(node, value, bits))
        self._round_output(node, y, bits)

    def _write_linear(self, node: ir.Node, bits: int) -> None:
        x, weight, bias = (present(value) for value in node.inputs)
        w = weight_array(weight)
        name = str(node.name)
        activation = self.activations.get(x_name(x))
        q, scale = quantize_weight(w, "int8", activation.hessian if activation else None)
        shift = activation.mean @ (q * scale - w) if activation else 0.0
        node.replace_input_with(0, self._read(node, x, bits))
        zeros = np.zeros(len(scale), np.int8)
        node.replace_input_with(1, self._constant(node, f"{name}.weight_int8", q, scale, zeros, 1))
        steps = scale * np.float32(self._range(x, bits)[0])
        node.replace_input_with(2, self._bias(node, bias, weight_array(bias) - shift, steps))

    def _write_norm(self, node: ir.Node, bits: int) -> None:
        x, gain, *rest = (present(value) for value in node.inputs)
        node.replace_input_with(0, self._read(node, x, bits))
        node.replace_input_with(1, self._read(node, gain, 8))
        step = affine(*_bounds(weight_array(gain)))[0] * np.float32(self._range(x, bits)[0])
        for bias in rest:
            rounded = self._bias(node, bias, weight_array(bias), np.asarray(step, np.float32))
            node.replace_input_with(2, rounded)

    def _bias(
        self, node: ir.Node, bias: ir.Value, array: FloatArray, steps: FloatArray
    ) -> ir.Value:
        q = np.clip(np.rint(array / steps.astype(np.float64)), -LARGEST, LARGEST)
        zeros = np.zeros(steps.shape, np.int32)
        axis = 0 if steps.ndim else None
        return self._constant(node, f"{bias.name}_int32", q.astype(np.int32), steps, zeros, axis)

    def _read(self, node: ir.Node, value: ir.Value, bits: int) -> ir.Value:
        """Return a float tensor as it is after rounding to `bits`; readers share it."""
        if (value, bits) not in self.rounded:
            if value.is_initializer():
                array = weight_array(value)
                scale, zero = affine(*_bounds(array), bits)
                q = np.clip(np.rint(array / scale) + zero, 0, 2**bits - 1).astype(_type(bits))
                zeros = np.array(zero, _type(bits))
                name = f"{value.name}_uint{bits}"
                found = self._constant(node, name, q, np.array(scale, np.float32), zeros, None)
            else:
                before = self.rounded.get((value, self.made.get(value, bits)), value)
                found = self._pair(node, before, value, bits, before=True)
            self.rounded[value, bits] = found
        return self.rounded[value, bits]

    def _round_output(self, node: ir.Node, y: ir.Value, bits: int) -> None:
        self.made[y] = bits
        output = y.is_graph_output()
        name = str(y.name)
        if output:
            y.name = f"{name}.float"
        given = self._pair(node, y, y, bits, before=False, name=name)
        self.rounded[y, bits] = given
        if output:
            given.shape, given.type = y.shape, y.type
            self.graph.outputs[list(self.graph.outputs).index(y)] = given
            given.name = name

    def _pair(
        self,
        node: ir.Node,
        x: ir.Value,
        ranged: ir.Value,
        bits: int,
        *,
        before: bool,
        name: str = "",
    ) -> ir.Value:
        """Insert QuantizeLinear and DequantizeLinear of x before or after a node."""
        name = f"{name or ranged.name}.uint{bits}"
        scale, zero = self._range(ranged, bits)
        s = add_initializer(self.graph, f"{name}.scale", np.array(scale, np.float32))
        z = add_initializer(self.graph, f"{name}.zero", np.array(zero, _type(bits)))
        tape = ir.tape.Tape()
        q = tape.op("QuantizeLinear", [x, s, z], name=name)
        y = tape.op("DequantizeLinear", [q, s, z], name=f"{name}.float")
        q.name, y.name = f"{name}.q", f"{name}.y"
        y.type = ir.TensorType(ir.DataType.FLOAT)
        insert = self.graph.insert_before if before else self.graph.insert_after
        insert(node, list(tape.nodes))
        return y

    def _constant(  # noqa: PLR0917 - an array, and how it is rounded
        self, node: ir.Node, name: str, q: Array, scale: Array, zero: Array, axis: int | None
    ) -> ir.Value:
        """Return DequantizeLinear of an initializer."""
        arrays = {"": q, ".scale": scale, ".zero": zero}
        inputs = [add_initializer(self.graph, f"{name}{end}", a) for end, a in arrays.items()]
        attributes = {} if axis is None else {"axis": axis}
        new = ir.node("DequantizeLinear", inputs, attributes, name=f"{name}.float")
        new.outputs[0].name = f"{name}.y"
        self.graph.insert_before(node, new)
        return new.outputs[0]

    def _range(self, value: ir.Value, bits: int) -> tuple[float, int]:
        name = str(self.sources[value].name)
        low, high = self.plan.tensors[name.removesuffix(".float")]
        return affine(low, high, bits)


def x_name(x: ir.Value) -> str:
    """Return what the plan calls a Linear's input."""
    return str(x.name).removesuffix(FLAT).removesuffix(EQUALISED_SUFFIX)


def _bounds(array: FloatArray) -> tuple[float, float]:
    return float(array.min()), float(array.max())


def _type(bits: int) -> type[np.unsignedinteger]:
    return np.uint8 if bits == 8 else np.uint16


def _is_float(value: ir.Value) -> bool:
    return value.dtype in (None, ir.DataType.FLOAT)

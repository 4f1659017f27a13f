"""The layers that encoder families share, written as canonical ops (opset 23)."""

import math
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from edgecompile.attention import padding_bias
from edgecompile.export.checkpoint import Config, Weights
from edgecompile.export.layer_widths import LayerWidths
from edgecompile.export.native_config import ACTIVATIONS
from edgecompile.graph import Array, add_initializer, add_int64
from edgecompile.opset import CANONICAL, ir_version_of


@dataclass(slots=True)
class Builder:
    """Writes one graph: nodes and weights are named after the checkpoint's modules."""

    config: Config
    weights: Weights
    graph: ir.Graph = field(
        default_factory=lambda: ir.Graph(
            [], [], nodes=[], opset_imports={"": CANONICAL}, name="model"
        )
    )

    def input(self, name: str, *shape: str | int, dtype: ir.DataType) -> ir.Value:
        """Declare a graph input."""
        value = ir.val(name, dtype, shape)
        self.graph.inputs.append(value)
        return value

    def op(
        self, name: str, op_type: str, *inputs: ir.Value, **attributes: str | float | list[int]
    ) -> ir.Value:
        """Append one node; its output carries the node's name."""
        node = ir.node(op_type, inputs, attributes, name=name)
        node.outputs[0].name = name
        self.graph.append(node)
        return node.outputs[0]

    def initializer(self, name: str, array: Array) -> ir.Value:
        """Add a constant; the same name gives the same value."""
        return self.graph.initializers.get(name) or add_initializer(self.graph, name, array)

    def linear(self, name: str, x: ir.Value, width_in: int, width_out: int) -> ir.Value:
        """X [..., in] -> X @ W.T + b, from a torch Linear's weight [out, in] and bias [out]."""
        weight = self.weights.take(f"{name}.weight", width_out, width_in)
        bias = self.weights.take(f"{name}.bias", width_out)
        w = self.initializer(f"{name}.weight", np.ascontiguousarray(weight.T))
        b = self.initializer(f"{name}.bias", bias)
        return self.op(f"{name}.add", "Add", self.op(f"{name}.matmul", "MatMul", x, w), b)

    def layer_norm(self, name: str, x: ir.Value, width: int, epsilon: float) -> ir.Value:
        """Normalise over the last axis."""
        scale = self.initializer(f"{name}.weight", self.weights.take(f"{name}.weight", width))
        bias = self.initializer(f"{name}.bias", self.weights.take(f"{name}.bias", width))
        return self.op(name, "LayerNormalization", x, scale, bias, axis=-1, epsilon=epsilon)

    def embedding(self, name: str, ids: ir.Value, rows: int, width: int) -> ir.Value:
        """Look up rows of a table [rows, width]."""
        table = self.initializer(f"{name}.weight", self.weights.take(f"{name}.weight", rows, width))
        return self.op(name, "Gather", table, ids, axis=0)

    def first_positions(self, name: str, ids: ir.Value, rows: int, width: int) -> ir.Value:
        """Return the first S rows of a position table, S being the length of `ids` [B, S]."""
        table = self.initializer(f"{name}.weight", self.weights.take(f"{name}.weight", rows, width))
        length = self.op(f"{name}.length", "Shape", ids, start=1, end=2)
        zero = add_int64(self.graph, 0)
        return self.op(name, "Slice", table, zero, length, zero)

    def activation(self, name: str, x: ir.Value) -> ir.Value:
        """Apply the activation that config.json names."""
        key = "activation" if self.config.model_type == "distilbert" else "hidden_act"
        op_type, attributes = ACTIVATIONS[self.config.text(key, "gelu")]
        return self.op(name, op_type, x, **attributes)

    def padding_bias(self, mask: ir.Value) -> ir.Value:
        """attention_mask [B, S] of 0 and 1 -> what attention adds to its scores, [B, 1, 1, S]."""
        nodes = padding_bias(self.graph, mask)
        self.graph.extend(nodes)
        return nodes[-1].outputs[0]

    def attention(
        self, name: str, inputs: tuple[ir.Value, ...], bias: ir.Value, widths: LayerWidths
    ) -> ir.Value:
        """Scaled dot-product attention over q, k, v of [B, S, heads * head_size]."""
        heads, scale = widths.heads, 1 / math.sqrt(widths.head_size)
        return self.op(
            name, "Attention", *inputs, bias, q_num_heads=heads, kv_num_heads=heads, scale=scale
        )

    def first_token(self, hidden: ir.Value) -> ir.Value:
        """[B, S, H] -> [B, H]: the hidden state of the first token."""
        zero = self.initializer("first_token.index", np.array(0, np.int64))
        return self.op("first_token", "Gather", hidden, zero, axis=1)

    def model(self, output: ir.Value, name: str, *shape: str | int) -> ir.Model:
        """Close the graph with one float output."""
        close_graph(self.graph, output, name, *shape)
        version = ir_version_of(CANONICAL)
        return ir.Model(self.graph, ir_version=version, producer_name="edgecompile")


def close_graph(graph: ir.Graph, output: ir.Value, name: str, *shape: str | int) -> None:
    """Make a tensor the graph's one output, float32 of this shape."""
    output.name, output.shape = name, ir.Shape(shape)
    output.type = ir.TensorType(ir.DataType.FLOAT)
    graph.outputs.clear()
    graph.outputs.append(output)

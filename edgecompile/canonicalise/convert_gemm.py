"""Write Gemm as MatMul and Add.

y = Gemm(x, W, b, transB=1)   ->   y = MatMul(x, W^T) + b
"""

from typing import Any

import numpy as np
import onnx_ir as ir

from edgecompile.facts import linears_are_matmuls, no_constant_nodes
from edgecompile.graph import add_initializer, constant, present, substitute, sweep
from edgecompile.passes import rewrite


@rewrite(needs=[no_constant_nodes], gives=[linears_are_matmuls])
def convert_gemm(model: ir.Model) -> ir.Model:
    """Gemm -> MatMul, Add."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "Gemm"]:
        _convert(model.graph, node)
    return sweep(model)


def _convert(graph: ir.Graph, node: ir.Node) -> None:
    number: dict[str, Any] = {
        k: node.attributes[k].value if k in node.attributes else d for k, d in DEFAULTS
    }
    tape, name = ir.tape.Tape(), str(node.name)
    x, w = present(node.inputs[0]), present(node.inputs[1])
    if number["transA"]:
        x = tape.op("Transpose", [x], {"perm": [1, 0]}, name=f"{name}.transposed")
    w = _matrix(graph, tape, w, number["transB"], number["alpha"])
    y = tape.op("MatMul", [x, w], name=f"{name}.matmul")
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if bias is not None:
        if number["beta"] != 1:
            bias = _scaled(graph, tape, bias, number["beta"])
        y.name = f"{node.outputs[0].name}.matmul"
        tape.op("Add", [y, bias], name=name)
    substitute(graph, [node], tape.nodes)


DEFAULTS = (("transA", 0), ("transB", 0), ("alpha", 1.0), ("beta", 1.0))


def _matrix(
    graph: ir.Graph, tape: ir.tape.Tape, w: ir.Value, transposed: int, alpha: float
) -> ir.Value:
    array = constant(w)
    if transposed and array is not None:
        w = add_initializer(graph, str(w.name), array.T)
    elif transposed:
        w = tape.op("Transpose", [w], {"perm": [1, 0]})
    return w if alpha == 1 else _scaled(graph, tape, w, alpha)


def _scaled(graph: ir.Graph, tape: ir.tape.Tape, value: ir.Value, factor: float) -> ir.Value:
    array = constant(value)
    if array is not None:
        return add_initializer(graph, str(value.name), array * array.dtype.type(factor))
    number = add_initializer(graph, f"{value.name}.factor", np.array(factor, np.float32))
    if value.dtype != ir.DataType.FLOAT:
        number = tape.op("CastLike", [number, value])
    return tape.op("Mul", [value, number])

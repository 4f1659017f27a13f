"""Round the weights of the plan's Linears by blocks, where the plan asks for weights alone.

    y = x @ W   ->   y = MatMulNBits(x, q[out, blocks, bytes], scale[out * blocks], zero)

x comes as float. By its accuracy level the kernel may round it to int8 as it goes, a block of 32
at a time. The kernels of level 4, which do, are the fast ones: level 0 is exact, but at 8 bits
writes W out as float at each inference (384 x 1536, one token, AVX2, 1 thread: 39 us against
1412 us; float takes 68 us). Without `zero`, 8 bits are symmetric. The bias stays an Add.
"""

import onnx_ir as ir

from edgecompile.blockwise import BLOCK, pack, quantize_blocks
from edgecompile.facts import attention_runs, equalised
from edgecompile.graph import (
    MICROSOFT,
    FloatArray,
    Linear,
    add_initializer,
    dim,
    linears,
    substitute,
    sweep,
    weight_of,
)
from edgecompile.passes import rewrite
from edgecompile.plan import Plan

BITS = {"int8": 8, "int4": 4}
ROUND_ACTIVATIONS = 4
"""The accuracy level whose kernels may round x to int8, by blocks."""


@rewrite(needs=[equalised, attention_runs])
def quantize_weights(model: ir.Model, plan: Plan) -> ir.Model:
    """MatMul -> MatMulNBits, if the plan rounds weights alone."""
    if not plan.weights:
        return model
    model = model.clone()
    stored: dict[ir.Value, list[ir.Value]] = {}
    for linear in list(linears(model.graph)):
        if str(linear.x.name) in plan.activations and linear.name not in plan.kept_float:
            if linear.weight not in stored:
                hessian = plan.activations[str(linear.x.name)].hessian
                stored[linear.weight] = _store(model.graph, linear, BITS[plan.weights], hessian)
            _quantize(model.graph, linear, stored[linear.weight], BITS[plan.weights])
            model.graph.opset_imports[MICROSOFT] = 1
    return sweep(model)


def _store(
    graph: ir.Graph, linear: Linear, bits: int, hessian: FloatArray | None
) -> list[ir.Value]:
    q, scale, zero = quantize_blocks(weight_of(linear), bits, hessian)
    arrays = {f"weight_int{bits}": pack(q, bits), "weight_scale": scale.reshape(-1)}
    if bits != 8:
        arrays["weight_zero"] = pack(zero, bits).reshape(-1)
    return [add_initializer(graph, f"{linear.name}.{k}", array) for k, array in arrays.items()]


def _quantize(graph: ir.Graph, linear: Linear, stored: list[ir.Value], bits: int) -> None:
    rows, columns = (dim(linear.weight, axis) for axis in range(2))
    attributes = {
        "K": rows,
        "N": columns,
        "bits": bits,
        "block_size": BLOCK,
        "accuracy_level": ROUND_ACTIVATIONS,
    }
    node = ir.node(
        "MatMulNBits", [linear.x, *stored], attributes, domain=MICROSOFT, name=linear.name
    )
    substitute(graph, [linear.matmul], [node])

"""Keep OpenVINO from computing a channel's factor inside a convolution, where it gets it wrong.

    y = Mul(Gelu(Conv(x)), factors)   ->   y = Mul(Gelu(Conv(x)), Mul(factors, one))
                                           one = Div(n, n), n = Cast(Size(an input of any size))

On AVX512, its int8 convolution with both an activation and a vector [1, C, 1] after it gives other
numbers where it has one position to compute, one token of one text (2026.4.1: cosine 0.78). What
is no constant, OpenVINO does not draw into the convolution. MiniLM takes as long as without: 14.8
and 14.9 ms of CPU time on AVX512; with AVX2's kernels 1.6 % more. Where no input may change its
size there is nothing to do: one position is no convolution then.
"""

import onnx_ir as ir

from edgecompile.facts import FACTORS_SPLIT, factors_are_split, no_transposes_cancel
from edgecompile.graph import constant, present
from edgecompile.lower.openvino.cancel_transposes import ALONE, PAIRED
from edgecompile.passes import rewrite


@rewrite(needs=[no_transposes_cancel], gives=[factors_are_split])
def split_factors(model: ir.Model) -> ir.Model:
    """Multiply each such vector by a one that only the run knows to be one."""
    model = model.clone()
    model.metadata_props[FACTORS_SPLIT] = "yes"
    sized = next((v for v in model.graph.inputs if v.shape is None or v.shape.is_dynamic()), None)
    found = [(node, vector) for node in model.graph if (vector := _inside(node)) is not None]
    if sized is None or not found:
        return model
    tape = ir.tape.Tape()
    size = tape.op("Size", [sized], name="size")
    n = tape.op("Cast", [size], {"to": int(ir.DataType.FLOAT)}, name="size.float")
    one = tape.op("Div", [n, n], name="size.one")
    model.graph.insert_before(model.graph[0], list(tape.nodes))
    for node, vector in found:
        product = ir.tape.Tape()
        y = product.op("Mul", [vector, one], name=f"{node.name}.factors")
        model.graph.insert_before(node, list(product.nodes))
        node.replace_input_with(list(node.inputs).index(vector), y)
    return model


def _inside(node: ir.Node) -> ir.Value | None:
    """Return the vector that a node would take into the convolution of its other input."""
    if node.op_type not in PAIRED or len(node.inputs) != 2:
        return None
    for x, vector in (node.inputs, reversed(node.inputs)):
        array = constant(vector)
        if array is not None and array.size > 1 and _is_activated_convolution(present(x)):
            return vector
    return None


def _is_activated_convolution(x: ir.Value) -> bool:
    """Say whether a convolution made x, with an activation and what else works on each number."""
    activated, made = False, x.producer()
    while made is not None and made.op_type in ALONE | PAIRED:
        activated |= made.op_type not in PAIRED
        made = next((p for v in made.inputs if v is not None and (p := v.producer())), None)
    return activated and made is not None and made.op_type == "Conv"

"""State every shape: batch 1, the target's token count. An NPU's graph has no open axis.

ids: [batch, sequence]   ->   ids: [1, 128] int32; the mask float, and nothing casts it
"""

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgecompile.canonicalise import fold_constants as folding
from edgecompile.errors import UnsupportedError
from edgecompile.facts import (
    SHAPES_INFERRED,
    no_attention,
    no_constant_nodes,
    shapes_inferred,
    tables_are_split,
)
from edgecompile.graph import add_initializer, present, replace_value, sizes, sweep
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(needs=[no_attention, tables_are_split], gives=[shapes_inferred, no_constant_nodes])
def fix_shapes(model: ir.Model, target: Target) -> ir.Model:
    """Bind the inputs' axes, then compute what depended on them alone."""
    model = model.clone()
    _bind(model.graph, max(target.lengths, default=0), target.name)
    for value in model.graph.inputs:
        _set_type(model.graph, value)
    ShapeInferencePass(check_type=False, strict_mode=False)(model)
    for node in [n for n in model.graph if n.op_type == "Shape"]:
        _fold_shape(model.graph, node)
    model = folding.fold_constants.run(sweep(model))
    ShapeInferencePass(check_type=False, strict_mode=False)(model)
    model.metadata_props[SHAPES_INFERRED] = "yes"
    return model


def _bind(graph: ir.Graph, length: int, target: str) -> None:
    for value in graph.inputs:
        stated = list(value.shape or ())
        if any(not isinstance(size, int) for size in stated[2:]):
            msg = (
                f"{target}: input '{value.name}' leaves more open than batch and tokens; an NPU's"
                " shapes are fixed: choose another target for this part"
            )
            raise UnsupportedError(msg)
        fixed = zip(stated, (1, length), strict=False)
        given = [size if isinstance(size, int) else own for size, own in fixed]
        value.shape = ir.Shape([*given, *stated[2:]])
    for value in graph.outputs:
        value.shape = None


def _set_type(graph: ir.Graph, value: ir.Value) -> None:
    """int64 -> float where nothing but casts to float read it, else int32."""
    if value.dtype != ir.DataType.INT64:
        return
    users = value.consumers()
    casts = [n for n in users if n.op_type == "Cast" and n.attributes["to"].as_int() == 1]
    if users and len(casts) == len(users):
        value.type = ir.TensorType(ir.DataType.FLOAT)
        for node in casts:
            replace_value(node.outputs[0], value)
            graph.remove(node, safe=True)
    else:
        value.type = ir.TensorType(ir.DataType.INT32)


def _fold_shape(graph: ir.Graph, node: ir.Node) -> None:
    x = present(node.inputs[0])
    if x.shape is None or not all(isinstance(size, int) for size in x.shape):
        return
    every = sizes(x)
    start = node.attributes["start"].as_int() if "start" in node.attributes else 0
    end = node.attributes["end"].as_int() if "end" in node.attributes else len(every)
    array = np.array(every[start:end], np.int64)
    replace_value(node.outputs[0], add_initializer(graph, f"{node.name}.fixed", array))

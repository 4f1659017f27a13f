"""State every shape: batch 1, the target's token count. An NPU's graph has no open axis.

ids: [batch, sequence]   ->   ids: [1, 128] int32; the mask float, and nothing casts it
"""

import json

import numpy as np
import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgecompile.canonicalise import fold_constants as folding
from edgecompile.errors import UnsupportedError
from edgecompile.facts import (
    SHAPES_INFERRED,
    TEXT_AXES,
    no_attention,
    no_constant_nodes,
    no_reduce_l2,
    shapes_inferred,
    tables_are_split,
)
from edgecompile.graph import add_initializer, present, replace_value, sizes, sweep
from edgecompile.passes import rewrite
from edgecompile.target import Target


@rewrite(
    needs=[no_attention, no_reduce_l2, tables_are_split], gives=[shapes_inferred, no_constant_nodes]
)
def fix_shapes(model: ir.Model, target: Target) -> ir.Model:
    """Bind the inputs' axes, then compute what depended on them alone."""
    model = model.clone()
    _bind(model.graph, max(target.lengths, default=0), target.name)
    axes = _free_outputs(model.graph)
    model.metadata_props[TEXT_AXES] = json.dumps(axes, sort_keys=True)
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


def _free_outputs(graph: ir.Graph) -> dict[str, int]:
    """Forget the outputs' shapes; return which axis of each was open, besides the batch."""
    axes = {}
    for value in graph.outputs:
        for axis, size in enumerate(value.shape or ()):
            if axis and not isinstance(size, int):
                axes[str(value.name)] = axis
        value.shape = None
    return axes


def _set_type(graph: ir.Graph, value: ir.Value) -> None:
    """int64 -> float where nothing but casts to float read it, else int32: the HTP has no int64."""
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
        others = [node for node in users if node.op_type != "Gather"]
        if others:
            wide = ir.node("Cast", [value], {"to": ir.DataType.INT64}, name=f"{value.name}.int64")
            graph.insert_before(graph[0], wide)
            for node in others:
                for index, given in enumerate(node.inputs):
                    if given is value:
                        node.replace_input_with(index, wide.outputs[0])


def _fold_shape(graph: ir.Graph, node: ir.Node) -> None:
    x = present(node.inputs[0])
    if x.shape is None or not all(isinstance(size, int) for size in x.shape):
        return
    every = sizes(x)
    start = node.attributes["start"].as_int() if "start" in node.attributes else 0
    end = node.attributes["end"].as_int() if "end" in node.attributes else len(every)
    array = np.array(every[start:end], np.int64)
    replace_value(node.outputs[0], add_initializer(graph, f"{node.name}.fixed", array))

"""Note each tensor's shape, while every operator is standard and inference can tell them.

x   ->   x: [B, S, 384]
"""

import onnx_ir as ir
from onnx_ir.passes.common import ShapeInferencePass

from edgecompile.facts import SHAPES_INFERRED, shapes_inferred
from edgecompile.passes import rewrite


@rewrite(gives=[shapes_inferred])
def infer_shapes(model: ir.Model) -> ir.Model:
    """Run onnx's shape inference; what it cannot tell stays unknown."""
    model = model.clone()
    ShapeInferencePass(check_type=False, strict_mode=False)(model)
    _name_axes(model)
    model.metadata_props[SHAPES_INFERRED] = "yes"
    return model


def _name_axes(model: ir.Model) -> None:
    """Call by its name what inference only knows to be open, where just one axis is open.

    As many rows of a table as there are tokens: inference does not see that it is as many.
    """
    ends = {
        str(size.value): size
        for value in model.graph.inputs
        for size in (value.shape or [])[1:]
        if not isinstance(size, int)
    }
    if len(ends) != 1:
        return
    (axis,) = ends.values()
    for node in model.graph:
        for value in node.outputs:
            if value.shape is not None and not value.is_graph_output():
                value.shape = ir.Shape(
                    [axis if n and not isinstance(d, int) else d for n, d in enumerate(value.shape)]
                )

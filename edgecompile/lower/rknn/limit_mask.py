"""Cut what padding's scores are lowered by to -50: more is nothing, and takes int8's steps.

    scores = Add(s, bias)   ->   scores = Add(s, Max(bias, -50))

e^-50 of a weight is nothing either. The host computes it, once for all layers.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import MASK_LIMITED, ROLE, mask_is_limited, no_attention
from edgecompile.graph import add_initializer, present, sweep
from edgecompile.passes import rewrite

LOWEST = -50.0


@rewrite(needs=[no_attention], gives=[mask_is_limited])
def limit_mask(model: ir.Model) -> ir.Model:
    """Put a Max before each bias of scores; layers that read the same bias share it."""
    model = model.clone()
    graph = model.graph
    limited: dict[ir.Value | None, ir.Value] = {}
    for add in [n for n in graph if n.metadata_props.get(ROLE) == "masked"]:
        bias = present(add.inputs[1])
        squeeze = bias.producer()
        source = bias if squeeze is None else squeeze.inputs[0]
        if source not in limited:
            lowest = add_initializer(graph, f"{bias.name}.lowest", np.array(LOWEST, np.float32))
            node = ir.node("Max", [bias, lowest], name=f"{bias.name}.limited")
            node.outputs[0].name = node.name
            graph.insert_before(add, node)
            limited[source] = node.outputs[0]
        add.replace_input_with(1, limited[source])
    model.metadata_props[MASK_LIMITED] = "yes"
    return sweep(model)

"""Give the columns of an embedding table one range: it is rounded to 8 bits with a single scale.

    y = Gather(table, ids)   ->   y = Mul(Gather(table / t, ids), t[C])

t is a column's largest magnitude, rounded as the 16 bits that hold it on the NPU.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import tables_are_split
from edgecompile.graph import add_initializer, dim, present, substitute, sweep, weight_array
from edgecompile.lower.onnxruntime.quantize_embeddings import SMALLEST_ROWS
from edgecompile.lower.qnn.place_tables import HOST
from edgecompile.passes import rewrite
from edgecompile.target import Target

LEVELS = 65535


@rewrite(gives=[tables_are_split])
def split_tables(model: ir.Model, target: Target) -> ir.Model:
    """Divide large tables by their columns' factors, if they go to the NPU."""
    model = model.clone()
    split = target.forms.tables != HOST
    for node in [n for n in model.graph if split and n.op_type == "Gather" and is_lookup(n)]:
        table = weight_array(present(node.inputs[0]))
        t = column_factors(table)
        name = str(node.name)
        narrow = add_initializer(model.graph, f"{name}.table", (table / t).astype(np.float32))
        factor = add_initializer(model.graph, f"{name}.columns", t)
        tape = ir.tape.Tape()
        attributes = {key: a.value for key, a in node.attributes.items()}
        rows = tape.op("Gather", [narrow, node.inputs[1]], attributes, name=f"{name}.rows")
        tape.op("Mul", [rows, factor], name=name)
        substitute(model.graph, [node], tape.nodes)
    model.metadata_props[tables_are_split.__name__] = "yes"
    return sweep(model)


def is_lookup(node: ir.Node) -> bool:
    """Say whether a Gather takes rows of a table large enough to be worth 8 bits."""
    table = node.inputs[0]
    axis = node.attributes.get("axis")
    if table is None or not table.is_initializer() or table.shape is None:
        return False
    rows = axis is None or axis.as_int() == 0
    return rows and len(table.shape) == 2 and dim(table, 0) >= SMALLEST_ROWS


def column_factors(table: np.ndarray) -> np.ndarray:
    """Return t [C], each a whole number of steps of max(t) / 65535."""
    t = np.maximum(np.abs(table).max(axis=0), 1e-12).astype(np.float64)
    t /= np.exp(np.log(t).mean())
    step = t.max() / LEVELS
    return np.asarray(np.maximum(np.rint(t / step), 1) * step, np.float32)

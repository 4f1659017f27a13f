"""Which initializers of a canonical graph training changes: weights, not masks or constants.

Linear, MatMul, Conv, Einsum       the matrix or kernel, and the bias
LayerNormalization                 scale and bias
Add, Mul                           a vector [C]: a bias or scale that stands alone
Gather, Slice                      rows of a table [rows, C]: "table", trained only on demand
"""

import numpy as np
import onnx_ir as ir

from edgecompile.graph import weight_array

MATRIX, TABLE = "matrix", "table"
PLACES = {
    "MatMul": (0, 1),
    "Conv": (1, 2),
    "InstanceNormalization": (1, 2),
    "LayerNormalization": (1, 2),
    "Add": (0, 1),
    "Mul": (0, 1),
    "Einsum": (0, 1),
    "Gather": (0,),
    "Slice": (0,),
}
"""Where each operator takes a weight."""
TABLES = ("Gather", "Slice")
VECTORS = ("Add", "Mul")


def find_weights(graph: ir.Graph) -> dict[str, str]:
    """Return each weight's name, and whether it is a "matrix" (or vector) or a "table" of rows."""
    found: dict[str, str] = {}
    for name, value in graph.initializers.items():
        if value.dtype != ir.DataType.FLOAT or value.shape is None or not len(value.shape):
            continue
        kinds = {_kind(value, use.node.op_type, use.idx) for use in value.uses()}
        if TABLE in kinds:
            found[name] = TABLE
        elif MATRIX in kinds:
            found[name] = MATRIX
    return found


def _kind(value: ir.Value, operator: str, place: int) -> str:
    """Return what one reader takes a value for; "" for a constant."""
    rank = len(value.shape) if value.shape is not None else 0
    if place not in PLACES.get(operator, ()):
        return ""
    if operator in TABLES:
        return TABLE if rank == 2 else ""
    if operator in VECTORS:
        return MATRIX if rank == 1 and weight_array(value).size > 1 else ""
    if operator in ("MatMul", "Einsum"):
        return MATRIX if rank >= 2 and np.ptp(weight_array(value)) > 0 else ""
    return MATRIX

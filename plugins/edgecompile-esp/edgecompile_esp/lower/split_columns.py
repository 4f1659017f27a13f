"""Give a Linear's columns one range, where the chip has one scale for a whole weight: ESP32-S3.

    y = Gemm(x, W, b)   ->   y = Mul(Gemm(x, W / t, b / t), t[C])

t makes the largest weight of each column 127 / 128, so none loses a bit. ESP32-P4 has a scale a
column.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import tokens_are_flat
from edgecompile.graph import FloatArray, add_initializer, present, substitute, sweep, weight_array
from edgecompile.passes import rewrite
from edgecompile.target import Target
from edgecompile_esp.facts import COLUMNS_SPLIT, columns_are_split
from edgecompile_esp.scales import power_above

ONE_SCALE = "target=esp32s3"
LARGEST = 127 / 128


@rewrite(needs=[tokens_are_flat], gives=[columns_are_split])
def split_columns(model: ir.Model, target: Target) -> ir.Model:
    """Divide each weight by its columns' factors, and multiply what it gives by them."""
    model = model.clone()
    if ONE_SCALE in target.chip:
        for node in [n for n in model.graph if n.op_type == "Gemm"]:
            _split(model.graph, node)
    model.metadata_props[COLUMNS_SPLIT] = "yes"
    return sweep(model)


def _split(graph: ir.Graph, node: ir.Node) -> None:
    x, weight, bias = (present(value) for value in node.inputs)
    w, name = weight_array(weight), str(node.name)
    t = column_factors(w)
    narrow = add_initializer(graph, f"{name}.weight_columns", (w / t).astype(np.float32))
    small = add_initializer(graph, f"{name}.bias_columns", weight_array(bias) / t)
    tape = ir.tape.Tape()
    columns = tape.op("Gemm", [x, narrow, small], name=name)
    columns.name = f"{name}.columns"
    tape.op("Mul", [columns, add_initializer(graph, f"{name}.factors", t)], name=f"{name}.factor")
    substitute(graph, [node], tape.nodes)


def column_factors(weight: FloatArray) -> FloatArray:
    """Return t [out], each a whole number of the steps in which int16 holds them."""
    t = np.maximum(np.abs(weight).max(axis=0).astype(np.float64) / LARGEST, 1e-9)
    step = power_above(t.max() / 32767)
    return np.asarray(np.maximum(np.ceil(t / step), 1) * step, np.float32)

"""What an artifact holds: size, operators, formats, embeddings, floats, and why."""

import json
from pathlib import Path
from typing import Any

import onnx_ir as ir

from edgecompile.distill.claim_folder import STUDENT
from edgecompile.errors import ModelError, UnsupportedError
from edgecompile.export.read_model import export, find_source
from edgecompile.graph import dim, linears, op_histogram, slices_rows
from edgecompile.inspect_compiled import find_compiled, inspect_compiled
from edgecompile.inspect_widths import inspect_widths

ARTIFACT = "model.onnx"
INT8_OPERATORS = {
    "MatMulIntegerToFloat": "int8 weight, int8 activation, float output",
    "DynamicQuantizeMatMul": "int8 weight, dynamic int8 activation, float output",
    "MatMulInteger": "int8 weight, int8 activation, int32 output",
    "QLinearMatMul": "int8 weight, int8 activation, int8 output",
    "MatMulNBits": "blockwise low-bit weight, float activation",
}
ROUNDED_OPERATORS = dict.fromkeys(("MatMul", "Conv"), INT8_OPERATORS["MatMulIntegerToFloat"])
"""Between QuantizeLinear and DequantizeLinear these are int8 as well."""
NOT_OURS = "no plan of edgecompile is in this file"
NOT_PLANNED = "not in the plan: its input was not observed, or its weight is not constant"


def inspect_file(path: Path, *, widths: bool = True) -> dict[str, Any]:
    """Return what a model, a bundle's artifact or a student holds, as plain data.

    A Hugging Face directory of a native family is shown as the graph that is exported from it.
    Without `widths`, those are not searched for: it takes most of the time.
    """
    if (outside := _ask_outside(path)) is not None:
        return outside
    tflite = path / "model.tflite" if path.is_dir() else path
    if tflite.suffix == ".tflite" and tflite.is_file():
        from edgecompile.tflite.inspect_tflite import inspect_tflite

        return inspect_tflite(tflite)
    if compiled := find_compiled(path):
        return inspect_compiled(compiled)
    file, model = _open(path)
    formats: dict[str, int] = {}
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            name = value.const_value.dtype.name.lower()
            formats[name] = formats.get(name, 0) + value.const_value.nbytes
    return {
        "file": str(file),
        "size_bytes": _size(file),
        "opset": model.graph.opset_imports.get("", 0),
        "ir_version": model.ir_version,
        "bytes_by_format": dict(sorted(formats.items(), key=lambda item: -item[1])),
        "operators": op_histogram(model.graph),
        "widths": inspect_widths(file if file.is_dir() else file.parent, model) if widths else [],
        "embeddings": _embeddings(model),
        "linears": _linears(model),
    }


def _ask_outside(path: Path) -> dict[str, Any] | None:
    """Return what an outside engine tells of its bundle, or of an artifact in one."""
    from edgecompile.engines import engine
    from edgecompile.plugins import packages

    folder = path if path.is_dir() else path.parent
    if not packages() or path.suffix in (".onnx", ".tflite"):
        return None
    try:
        manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
        name, artifact = str(manifest["engine"]), Path(str(manifest["artifact"])).name
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        return None
    own = engine(name).inspect if name in packages() else None
    return own(folder / artifact) if own is not None else None


def _open(path: Path) -> tuple[Path, ir.Model]:
    """Return what a path means: an .onnx file, or a directory of weights, and its graph."""
    if (path / "config.json").is_file() and not (path / ARTIFACT).is_file():
        source = find_source(path)
        if source.route != "native":
            msg = f"{path}: must be exported first; `edgecompile build` it, then inspect the bundle"
            raise UnsupportedError(msg)
        return path, export(source)
    files = [path / name for name in (ARTIFACT, STUDENT)] if path.is_dir() else [path]
    file = next((file for file in files if file.is_file()), files[0])
    if not file.is_file():
        known = "give an .onnx or .tflite file, or the folder of a bundle or a model"
        msg = f"{file}: no such file; {known}"
        raise ModelError(msg)
    try:
        return file, ir.load(file)
    except Exception as error:  # protobuf and onnx_ir each raise their own
        msg = f"{file}: not a readable ONNX file ({error})"
        raise ModelError(msg) from error


def _size(file: Path) -> int:
    files = file.glob("*.safetensors") if file.is_dir() else [file]
    return sum(path.stat().st_size for path in files)


def _embeddings(model: ir.Model) -> list[dict[str, Any]]:
    """Return the tables [rows, width] whose rows are looked up; scales of one column are none."""
    rows = {}
    for node in model.graph:
        axis = node.attributes.get("axis")
        gathers = node.op_type == "Gather" and (axis is None or axis.as_int() == 0)
        table = node.inputs[0] if gathers or slices_rows(node) else None
        if table is None or table.const_value is None or len(table.const_value.shape) != 2:
            continue
        shape, kind = table.const_value.shape.numpy(), table.const_value.dtype.name.lower()
        if shape[1] > 1:
            rows[table.name] = {"name": table.name, "shape": list(shape), "format": kind}
    return list(rows.values())


def _linears(model: ir.Model) -> list[dict[str, Any]]:
    reasons = _reasons(model)
    ours = "edgecompile" in model.metadata_props
    rows = []
    for node in model.graph:
        shape = _low_bit_shape(node)
        if shape is not None:
            kind = (INT8_OPERATORS | ROUNDED_OPERATORS)[node.op_type]
            if "bits" in node.attributes:
                kind = f"int{node.attributes['bits'].as_int()} weight by blocks, float activation"
            rows.append({"name": node.name, "shape": shape, "format": kind, "why": ""})
    for linear in linears(model.graph):
        why = reasons.get(linear.name, NOT_PLANNED if ours else NOT_OURS)
        shape = [dim(linear.weight, axis) for axis in range(2)]
        rows.append({"name": linear.name, "shape": shape, "format": "float", "why": why})
    return rows


def _reasons(model: ir.Model) -> dict[str, str]:
    """Return why Linears stayed float, as our artifacts say; other files may say anything there."""
    try:
        found = json.loads(model.metadata_props.get("kept_float", "{}"))
    except (ValueError, RecursionError):
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}


def _low_bit_shape(node: ir.Node) -> list[int] | None:
    """Return [in, out] of a low-bit Linear, None for any other node."""
    if node.op_type in ROUNDED_OPERATORS and not node.domain:
        return _rounded_shape(node)
    if node.op_type not in INT8_OPERATORS:
        return None
    if node.op_type == "MatMulNBits":
        return [node.attributes[key].as_int() for key in ("K", "N") if key in node.attributes]
    index = 3 if node.op_type == "QLinearMatMul" else 1
    weight = node.inputs[index] if len(node.inputs) > index else None
    if weight is None or not weight.const_value or weight.shape is None:
        return None
    return [int(size) for size in weight.shape if isinstance(size, int)]


def _rounded_shape(node: ir.Node) -> list[int] | None:
    """Return [in, out] of a MatMul or a Conv of width 1, if all that it reads is dequantized."""
    makers = [value.producer() if value is not None else None for value in node.inputs[:2]]
    x, w = (_behind_transposes(maker) for maker in makers)
    if x is None or w is None or any(m.op_type != "DequantizeLinear" for m in (x, w)):
        return None
    weight = w.inputs[0]
    if weight is None or not weight.const_value or weight.shape is None:
        return None
    sizes = [int(size) for size in weight.shape if isinstance(size, int)]
    return sizes if node.op_type == "MatMul" else [sizes[1], sizes[0]]


def _behind_transposes(node: ir.Node | None) -> ir.Node | None:
    while node is not None and node.op_type == "Transpose" and node.inputs[0] is not None:
        node = node.inputs[0].producer()
    return node

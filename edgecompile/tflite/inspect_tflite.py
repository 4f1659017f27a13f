"""What a .tflite file holds: size, operators, formats, embeddings, what is float, and why.

Of a file with a graph for each of several lengths, operators and Linears are those of one.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.errors import MissingRuntimeError, ModelError
from edgecompile.tflite.flatbuffer import schema

FORMATS = {
    ("INT8", "INT8"): "int8 weight, int8 activation, int8 output",
    ("INT8", "FLOAT32"): "int8 weight, dynamic int8 activation, float output",
}
"""Of an int8 weight's Linear, by the types of weight and activation."""
FLOAT = "float"
OURS = "edgecompile"
"""The metadata in which our artifacts say what stayed float, and why."""


def inspect_tflite(file: Path) -> dict[str, Any]:
    """Return what a file holds, as plain data."""
    try:
        raw = np.frombuffer(file.read_bytes(), np.uint8)
        model = schema().ModelT.InitFromPackedBuf(raw, 0)
        return _describe(file, model)
    except MissingRuntimeError:
        raise
    except Exception as error:  # hostile offsets end in any of Python's errors
        msg = f"{file}: not a readable TFLite file ({error})"
        raise ModelError(msg) from error


def _describe(file: Path, model: Any) -> dict[str, Any]:
    types = {code: name for name, code in vars(schema().TensorType).items() if name.isupper()}
    builtins = {
        code: name for name, code in vars(schema().BuiltinOperator).items() if name.isupper()
    }
    codes = [builtins[code.builtinCode] for code in model.operatorCodes]
    graph, reasons = model.subgraphs[0], _reasons(model)
    linears, tables, counts = [], {}, dict.fromkeys(sorted(set(codes)), 0)
    for operator in graph.operators:
        name = codes[operator.opcodeIndex]
        counts[name] += 1
        tensors: list[Any] = [graph.tensors[i] if i >= 0 else None for i in operator.inputs]
        if name == "FULLY_CONNECTED":
            linears.append(_linear(graph.tensors[operator.outputs[0]], tensors, types, reasons))
        if name in ("GATHER", "SLICE") and tensors[0].buffer and len(tensors[0].shape) == 2:
            shape, kind = [int(n) for n in tensors[0].shape], types[tensors[0].type].lower()
            if shape[1] > 1:
                row = {"name": tensors[0].name.decode(), "shape": shape, "format": kind}
                tables[row["name"]] = row
    signatures = [signature.signatureKey.decode() for signature in model.signatureDefs or []]
    return {
        "file": str(file),
        "kind": f"TFLite, {signatures}",
        "size_bytes": file.stat().st_size,
        "signatures": signatures,
        "bytes_by_format": _bytes_by_format(model, types),
        "operators": {name: count for name, count in counts.items() if count},
        "embeddings": list(tables.values()),
        "linears": linears,
    }


def _linear(y: Any, tensors: list[Any], types: dict[int, str], reasons: dict[str, str]) -> Any:
    x, w = tensors[:2]
    name = y.name.decode()
    for tensor in tensors[1:]:
        if tensor is not None and tensor.name is not None:
            name = tensor.name.decode().removesuffix(".weight_rows").removesuffix(".weight_int8")
            break
    kind = FORMATS.get((types[w.type], types[x.type]), FLOAT)
    why = reasons.get(name, "") if kind == FLOAT else ""
    return {"name": name, "shape": [int(n) for n in w.shape[::-1]], "format": kind, "why": why}


def _bytes_by_format(model: Any, types: dict[int, str]) -> dict[str, int]:
    """Sum up the constants' bytes; graphs share them."""
    kinds = {
        tensor.buffer: types[tensor.type].lower()
        for graph in model.subgraphs
        for tensor in graph.tensors
        if tensor.buffer
    }
    sizes: dict[str, int] = {}
    for number, kind in kinds.items():
        data = model.buffers[number].data
        sizes[kind] = sizes.get(kind, 0) + (0 if data is None else len(data))
    return dict(sorted(sizes.items(), key=lambda item: -item[1]))


def _reasons(model: Any) -> dict[str, str]:
    for entry in model.metadata or []:
        if entry.name == OURS.encode():
            try:
                found = json.loads(
                    json.loads(bytes(model.buffers[entry.buffer].data))["kept_float"]
                )
            except (ValueError, KeyError, TypeError, RecursionError):
                return {}
            return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
    return {}

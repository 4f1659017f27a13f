"""The int8 multiply-accumulates of a .tflite file's operators, from its shapes.

LiteRT's Python has no profile of operators and XNNPACK takes them all as one: what each executes
cannot be told apart, what it must multiply can.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.counts.attribute_operators import Operator
from edgecompile.tflite.flatbuffer import schema

KINDS = ("FULLY_CONNECTED", "CONV_2D", "DEPTHWISE_CONV_2D")


def tflite_operators(
    artifact: Path, shapes: Mapping[str, Sequence[int]]
) -> tuple[list[Operator], int]:
    """Return the operators with int8 weights of the graph that a feed of `shapes` takes.

    Their counts are empty. Also returns how many products the feed makes them do in all.
    """
    raw = np.frombuffer(artifact.read_bytes(), np.uint8)
    model = schema().ModelT.InitFromPackedBuf(raw, 0)
    names = {code: name for name, code in vars(schema().BuiltinOperator).items()}
    int8 = schema().TensorType.INT8
    graph = model.subgraphs[_choose(model, shapes)]
    found = []
    for operator in graph.operators:
        kind = names[model.operatorCodes[operator.opcodeIndex].builtinCode]
        if kind not in KINDS:
            continue
        weight, y = graph.tensors[operator.inputs[1]], graph.tensors[operator.outputs[0]]
        if weight.type == int8:
            macs = int(np.prod(y.shape)) * int(np.prod(weight.shape[1:]))
            if kind == "DEPTHWISE_CONV_2D":  # [1, height, width, channels]
                macs = int(np.prod(y.shape)) * int(np.prod(weight.shape[1:3]))
            name = weight.name.decode().removesuffix(".weight_rows").removesuffix(".weight_int8")
            found.append(Operator(name, kind, {}, macs))
    return found, sum(o.macs or 0 for o in found)


def _choose(model: Any, shapes: Mapping[str, Sequence[int]]) -> int:
    """Return the graph of the signature with the smallest inputs that hold a feed."""
    rows = []
    for signature in model.signatureDefs:
        graph = model.subgraphs[signature.subgraphIndex]
        sizes = {i.name.decode(): graph.tensors[i.tensorIndex].shape for i in signature.inputs}
        if all(n <= s for k, shape in shapes.items() if k in sizes
               for n, s in zip(shape, sizes[k], strict=True)):  # fmt: skip
            total = sum(int(np.prod(shape)) for shape in sizes.values())
            rows.append((total, int(signature.subgraphIndex)))
    return min(rows)[1] if rows else 0

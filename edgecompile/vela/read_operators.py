"""What a .tflite file computes, and which of it is an Ethos-U's: read from the artifact itself."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.errors import ModelError
from edgecompile.tflite.flatbuffer import schema

ETHOS_U = b"ethos-u"
"""The custom operator that holds a command stream."""
CUSTOM = "CUSTOM"


@dataclass(frozen=True, slots=True)
class Operator:
    """One operator: its builtin's name, the tensor that it makes, its multiply-adds."""

    name: str
    output: str
    macs: int
    on_npu: bool = False


def read_operators(file: Path) -> list[Operator]:
    """Return the operators of a file's first graph."""
    model = open_model(file)
    builtins = {code: name for name, code in vars(schema().BuiltinOperator).items()}
    codes = [builtins.get(code.builtinCode, "?") for code in model.operatorCodes]
    custom = [code.customCode for code in model.operatorCodes]
    graph = model.subgraphs[0]
    return [
        Operator(
            codes[op.opcodeIndex],
            graph.tensors[op.outputs[0]].name.decode(),
            _macs(codes[op.opcodeIndex], op, graph),
            codes[op.opcodeIndex] == CUSTOM and custom[op.opcodeIndex] == ETHOS_U,
        )
        for op in graph.operators
    ]


def npu_share(before: Sequence[Operator], after: Sequence[Operator]) -> tuple[float, float]:
    """Return which share of operators and of multiply-adds is no longer the CPU's."""
    left = [operator for operator in after if not operator.on_npu]
    macs = sum(operator.macs for operator in before)
    outside = sum(operator.macs for operator in left)
    return 1 - len(left) / max(len(before), 1), 1 - outside / max(macs, 1)


def open_model(file: Path) -> Any:
    """Return the schema's tables of a file."""
    try:
        raw = np.frombuffer(file.read_bytes(), np.uint8)
        return schema().ModelT.InitFromPackedBuf(raw, 0)
    except Exception as error:  # hostile offsets end in any of Python's errors
        msg = f"{file}: not a readable TFLite file ({error})"
        raise ModelError(msg) from error


def _macs(name: str, op: Any, graph: Any) -> int:
    shapes = [[int(n) for n in graph.tensors[i].shape] for i in op.inputs if i >= 0]
    made = int(np.prod(graph.tensors[op.outputs[0]].shape))
    return made * shapes[0][-1] if name in ("FULLY_CONNECTED", "BATCH_MATMUL") else 0

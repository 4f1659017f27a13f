"""C sources for firmware around a file that Vela compiled: one header, one source.

The file is taken in as it is by the assembler, aligned: TensorFlow Lite Micro wants it whole. For
firmware without an interpreter, the header also says where in it the command stream and the
weights lie and where in the arena input and output are, and the source calls the driver
(ethosu_invoke_v3 of Arm's ethos-u-core-driver).
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from edgecompile.errors import ToolchainError
from edgecompile.target import Target
from edgecompile.vela.read_operators import ETHOS_U, open_model

ALIGNMENT = 16
OFFSETS = b"OfflineMemoryAllocation"
"""Vela's metadata: version, graph, number of tensors, then each one's place in the arena, or -1."""
HEADER = """\
/* {file}, for {chip}: how firmware reaches it.
   Written by edgecompile; its golden inputs and outputs are in golden.npz. */
#ifndef {guard}_H
#define {guard}_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

/* The whole file, {file_bytes} bytes, aligned to {alignment}: for TensorFlow Lite Micro. */
extern const uint8_t {name}[];
#define {guard}_BYTES {file_bytes}u

/* Scratch memory of the NPU: working tensors, input and output too. Aligned to {alignment}. */
#define {guard}_ARENA_BYTES {arena_bytes}u
#define {guard}_FAST_BYTES {fast_bytes}u /* SRAM besides, as its cache; 0: there is none */
{ends}
{invoke}
#ifdef __cplusplus
}}
#endif

#endif
"""
END = """
/* {side}: {tensor}, [{shape}] of {type}; real = {scale:.9g} * (q - ({zero})) */
#define {guard}_{macro}_OFFSET {offset}u /* in the arena */
#define {guard}_{macro}_BYTES {size}u
#define {guard}_{macro}_SCALE {scale:.8e}f
#define {guard}_{macro}_ZERO ({zero})
"""
INVOKE = """
/* Without an interpreter: inputs lie at their offsets in `arena` before, outputs after it.
   `fast` is the arena again where there is no memory of its own for it: FAST_BYTES is 0.
   0 is well, as the driver's ethosu_invoke_v3 says. */
struct ethosu_driver;
int {name}_invoke(struct ethosu_driver *driver, uint8_t *arena, uint8_t *fast, size_t fast_bytes);
"""
SOURCE = """\
/* Written by edgecompile: {file} in read-only memory, and its call of the driver. */
#include "{name}.h"

__asm__(".section .rodata.{name},\\"a\\"\\n"
        ".balign {alignment}\\n"
        ".global {name}\\n"
        "{name}:\\n"
        ".incbin \\"{file}\\"\\n"
        ".previous\\n");
{call}"""
CALL = """
/* ethosu_driver.h of Arm's ethos-u-core-driver. */
int ethosu_invoke_v3(struct ethosu_driver *drv, const void *custom_data_ptr,
                     const int custom_data_size, uint64_t *const base_addr,
                     const size_t *base_addr_size, const int num_base_addr, void *user_arg);

int {name}_invoke(struct ethosu_driver *driver, uint8_t *arena, uint8_t *fast, size_t fast_bytes)
{{
    uint64_t bases[{count}] = {{
        (uint64_t)(uintptr_t)({name} + {weights}u),
        (uint64_t)(uintptr_t)arena,
        (uint64_t)(uintptr_t)fast,
{bases}    }};
    const size_t sizes[{count}] = {{
        {weights_bytes}u, {guard}_ARENA_BYTES, fast_bytes,
{sizes}    }};
    return ethosu_invoke_v3(driver, {name} + {stream}u, {stream_bytes}, bases, sizes,
                            {count}, NULL);
}}
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """Where a buffer lies in the file, in bytes."""

    offset: int
    size: int


def write_firmware(source: Path, file: Path, board: Target) -> list[str]:
    """Write NAME.h and NAME.c beside a compiled file; return their names.

    `source` is the file before Vela. Where operators are left to the CPU, an interpreter is needed:
    then there is no call of the driver.
    """
    name = source.stem
    model = open_model(file)
    graph, guard = model.subgraphs[0], name.upper()
    raw = np.frombuffer(file.read_bytes(), np.uint8)
    custom = [code.customCode for code in model.operatorCodes]
    npu = [op for op in graph.operators if custom[op.opcodeIndex] == ETHOS_U]
    places = _arena(model)
    alone = len(npu) == len(graph.operators) == 1
    ends = [("INPUT", n, i) for n, i in enumerate(graph.inputs)]
    ends += [("OUTPUT", n, i) for n, i in enumerate(graph.outputs)]
    arena = max(int(np.prod(graph.tensors[op.inputs[2]].shape)) for op in npu)
    fast = [op.inputs[3] for op in npu if op.inputs[3] != op.inputs[2]]
    words = {
        "name": name,
        "guard": guard,
        "file": file.name,
        "file_bytes": len(raw),
        "alignment": ALIGNMENT,
        "arena_bytes": arena,
        "fast_bytes": max((int(np.prod(graph.tensors[i].shape)) for i in fast), default=0),
        "chip": ", ".join(board.chip),
    }
    texts = [_end(guard, f"{side}_{n}", graph.tensors[i], places[i]) for side, n, i in ends]
    invoke = INVOKE.format(**words) if alone else ""
    header = HEADER.format(**words, ends="".join(texts), invoke=invoke)
    call = _call(words, npu[0], graph, file) if alone else ""
    (file.parent / f"{name}.h").write_text(header, encoding="utf-8")
    body = SOURCE.format(**words, call=call)
    (file.parent / f"{name}.c").write_text(body, encoding="utf-8")
    return [f"{name}.h", f"{name}.c"]


def _end(guard: str, macro: str, tensor: Any, place: int) -> str:
    from edgecompile.tflite.flatbuffer import schema

    types = {code: key.lower() for key, code in vars(schema().TensorType).items() if key.isupper()}
    rounding, width = tensor.quantization, 2 if types[tensor.type] == "int16" else 1
    return END.format(
        guard=guard,
        macro=macro,
        side=macro.replace("_", " ").lower(),
        tensor=tensor.name.decode(),
        shape=", ".join(map(str, tensor.shape)),
        type=types[tensor.type],
        scale=float(rounding.scale[0]),
        zero=int(rounding.zeroPoint[0]),
        offset=place,
        size=int(np.prod(tensor.shape)) * width,
    )


def _call(words: dict[str, Any], op: Any, graph: Any, file: Path) -> str:
    stream, weights = (_stored(file, graph.tensors[i].buffer) for i in op.inputs[:2])
    if stream.offset % ALIGNMENT or weights.offset % ALIGNMENT:
        msg = f"{file.name}: its command stream or weights are not aligned to {ALIGNMENT} bytes"
        raise ToolchainError(msg)
    guard = words["guard"]
    macros = [f"{guard}_INPUT_{n}" for n in range(len(op.inputs) - 4)]
    macros += [f"{guard}_OUTPUT_{n}" for n in range(len(op.outputs))]
    return CALL.format(
        **words,
        count=3 + len(macros),
        weights=weights.offset,
        weights_bytes=weights.size,
        stream=stream.offset,
        stream_bytes=stream.size,
        bases="".join(f"        (uint64_t)(uintptr_t)(arena + {m}_OFFSET),\n" for m in macros),
        sizes="".join(f"        {m}_BYTES,\n" for m in macros),
    )


def _arena(model: Any) -> list[int]:
    """Return each tensor's place in the arena, -1 for none."""
    for entry in model.metadata or []:
        if entry.name == OFFSETS:
            numbers = np.asarray(model.buffers[entry.buffer].data, np.uint8).view(np.int32)
            return [int(n) for n in numbers[3:]]
    return [-1] * len(model.subgraphs[0].tensors)


def _stored(file: Path, buffer: int) -> Stored:
    """Find a buffer's bytes in the file itself."""
    from edgecompile.tflite.flatbuffer import schema

    raw = np.frombuffer(file.read_bytes(), np.uint8)
    data = schema().Model.GetRootAs(raw, 0).Buffers(buffer).DataAsNumpy()
    start = data.__array_interface__["data"][0] - raw.__array_interface__["data"][0]
    return Stored(int(start), len(data))

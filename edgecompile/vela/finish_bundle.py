"""What a bundle gets from Vela: files for the NPU and firmware, figures, what the CPU runs."""

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgecompile.target import Target
from edgecompile.vela.compile_encoder import Compiled, compile_encoder
from edgecompile.vela.read_operators import read_operators
from edgecompile.vela.write_firmware import write_firmware

KIB = 1024
HOST = ("embed.tflite", "pool.tflite")
"""What looks tables up and pools: the NPU has no form for it, or it is no work."""
MEMORY = {
    "sram_bytes": ("sram_memory_used",),
    "flash_bytes": ("on_chip_flash_memory_used", "off_chip_flash_memory_used"),
    "dram_bytes": ("dram_memory_used",),
}
"""Rows of the profile, and Vela's columns of KiB that they are the sum of."""


def finish_bundle(
    names: Sequence[str], board: Target, folder: Path, say: Callable[[str, str], None]
) -> tuple[list[str], list[dict[str, Any]], dict[str, Any]]:
    """Compile each encoder; return all files, rows for the profile, a table for the manifest."""
    files, rows, encoders = list(names), [], {}
    for name in names:
        if not name.startswith("encoder_"):
            continue
        length = name.removeprefix("encoder_").removesuffix(".tflite")
        say("emit", f"{board.name}: Vela compiles {name}")
        made = compile_encoder(folder / name, board, folder, say)
        sources = write_firmware(folder / name, made.file, board)
        files += [made.file.name, *sources]
        rows += _rows(made, int(length) if length.isdecimal() else 0)
        encoders[name] = _table(made)
        for operator in made.left:
            say("warning", f"{board.name}: {_reason(operator.name, operator.output)}")
    device = [name for name in files if name.endswith(".tflite") and name not in encoders]
    rows.append(_size(sum((folder / name).stat().st_size for name in device)))
    host = {name: _count(folder / name) for name in files if name in HOST}
    table = {"chip": list(board.chip), "profile": board.profile, "encoders": encoders}
    return files, rows, table | {"on_host": host}


def _count(file: Path) -> dict[str, int]:
    """Count the operators that the host runs before and behind the encoder."""
    return dict(sorted(Counter(operator.name for operator in read_operators(file)).items()))


def _size(value: int) -> dict[str, Any]:
    how = "size of what goes on the device: the host's parts and the compiled encoders"
    row = {"name": "size", "value": value, "unit": "bytes", "kind": "measured", "how": how}
    return row | {"model": "artifact"}


def _rows(made: Compiled, length: int) -> list[dict[str, Any]]:
    vela = ("modelled", f"ethos-u-vela {made.version}")
    counted = ("measured", "operators of the compiled file, counted")
    found = made.figures
    values: list[tuple[str, float | int, str]] = [
        ("npu_share_ops", round(made.ops_share, 6), "share"),
        ("npu_share_macs", round(made.macs_share, 6), "share"),
        ("cycles", int(float(found["cycles_total"])), "cycles"),
        ("latency", round(float(found["inference_time"]) * 1e3, 3), "ms"),
    ]
    for name, columns in MEMORY.items():
        values.append((name, round(KIB * sum(float(found[c]) for c in columns)), "bytes"))
    return [
        {
            "name": name,
            "value": value,
            "unit": unit,
            "kind": kind,
            "how": how,
            "model": "artifact",
            "sequence": length,
            "threads": 1,
        }
        for name, value, unit in values
        for kind, how in (counted if unit == "share" else vela,)
    ]


def _table(made: Compiled) -> dict[str, Any]:
    left = [{"operator": o.name, "output": o.output, "why": _reason(o.name, o.output)}
            for o in made.left]  # fmt: skip
    return {"operators": made.operators, "on_cpu": left, "file": made.file.name}


def _reason(name: str, output: str) -> str:
    return f"Vela leaves '{output}' ({name}) to the CPU"

"""What a bundle gets from Vela: files for the NPU and firmware, figures, what the CPU runs."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from edgecompile.target import Target
from edgecompile.vela.compile_encoder import Compiled, compile_encoder
from edgecompile.vela.write_firmware import write_firmware

KIB = 1024
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
    rows.append(_size([name for name in files if _ships(name)], folder))
    return files, rows, {"chip": list(board.chip), "profile": board.profile, "encoders": encoders}


def _ships(name: str) -> bool:
    """Say whether a file goes to the device: an encoder as Vela has compiled it."""
    return name.endswith(".tflite") and (not name.startswith("encoder_") or "_vela" in name)


def _size(names: Sequence[str], folder: Path) -> dict[str, Any]:
    size = sum((folder / name).stat().st_size for name in names)
    how = f"size of what goes to the device: {', '.join(names)}"
    return {"name": "size", "value": size, "unit": "bytes", "kind": "measured", "how": how,
            "model": "artifact"}  # fmt: skip


def _rows(made: Compiled, length: int) -> list[dict[str, Any]]:
    how = f"ethos-u-vela {made.version}"
    found = made.figures
    values: list[tuple[str, float | int, str]] = [
        ("npu_share_ops", round(made.ops_share, 6), ""),
        ("npu_share_macs", round(made.macs_share, 6), ""),
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
            "kind": "modelled",
            "how": how,
            "model": "artifact",
            "sequence": length,
            "threads": 1,
        }
        for name, value, unit in values
    ]


def _table(made: Compiled) -> dict[str, Any]:
    left = [{"operator": o.name, "output": o.output, "why": _reason(o.name, o.output)}
            for o in made.left]  # fmt: skip
    return {"operators": made.operators, "on_cpu": left, "file": made.file.name}


def _reason(name: str, output: str) -> str:
    return f"Vela leaves '{output}' ({name}) to the CPU"

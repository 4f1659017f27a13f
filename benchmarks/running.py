"""What every benchmark does around its figures: options, the machine's name, commands, --json."""

import argparse
import json
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.host import read_host

ROOT = Path(__file__).parents[1]


def options(doc: str) -> argparse.ArgumentParser:
    """Return a parser with --json, described by the first line of a script's docstring."""
    parser = argparse.ArgumentParser(description=doc.partition("\n")[0])
    parser.add_argument("--json", type=Path, help="also write the figures there")
    return parser


def save(path: Path | None, figures: dict[str, Any]) -> None:
    """Write the figures, if a file was asked for."""
    if path is not None:
        path.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def machine() -> str:
    """Name the processor, whether it has VNNI, and its CPUs."""
    host = read_host()
    vnni = "with" if "vnni" in host.features else "without"
    return f"{host.cpu}, {host.isa}, {vnni} VNNI, {host.threads} CPUs"


def file_bytes(model: Path) -> int:
    """Return the size of a model's files: its weights may lie beside it (.onnx.data, .bin)."""
    files = {*model.parent.glob(f"{model.name}*"), model.with_suffix(".bin")}
    return sum(file.stat().st_size for file in files if file.is_file())


@dataclass(frozen=True, slots=True)
class Ran:
    """A command that ended: its seconds, the peak memory of its largest process and of all."""

    seconds: float
    largest_bytes: int
    total_bytes: int
    code: int
    output: str
    errors: str


def run(command: Sequence[str | Path], limit_s: float = math.inf, **environment: str) -> Ran:
    """Run a command in the repository's root and watch its memory; past the limit, kill it.

    Builds find no finished stages of earlier ones, unless the environment says where those are.
    """
    environment = {"EDGECOMPILE_STAGES": "off", **environment}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        start = time.perf_counter()
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, cwd=ROOT, env=os.environ | environment
        )
        largest, total = 0, 0
        while process.poll() is None:
            sizes = list(_resident_bytes(process.pid))
            largest, total = max(largest, *sizes, 0), max(total, sum(sizes))
            if time.perf_counter() - start > limit_s:
                process.kill()
            time.sleep(0.01)
        seconds = time.perf_counter() - start
        texts = []
        for file in (output, errors):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    return Ran(seconds, largest, total, process.returncode, *texts)


def timed(command: Sequence[str | Path]) -> Ran:
    """Run a command that must succeed."""
    ran = run(command)
    if ran.code:
        sys.exit(ran.errors or f"{command[0]} ended with {ran.code}")
    return ran


def build(model: Path, output: Path, *more: str | Path, target: str = "x86-64") -> tuple[Path, Ran]:
    """Build for one target as a user does; return the artifact and what it took."""
    command = [sys.executable, "-m", "edgecompile", "build", model, "-t", target, "-o", output]
    ran = timed([*command, *more])
    return output / f"{model.name}-{target}" / "model.onnx", ran


def _resident_bytes(pid: int) -> Iterator[int]:
    """Yield the resident bytes of a process and of its children."""
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        yield sum(int(line.split()[1]) * 1024 for line in status if line.startswith("VmRSS"))
        for task in Path(f"/proc/{pid}/task").iterdir():
            for child in (task / "children").read_text(encoding="utf-8").split():
                yield from _resident_bytes(int(child))
    except OSError:
        return  # it has just ended

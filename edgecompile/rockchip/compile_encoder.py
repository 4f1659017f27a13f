"""The encoder's float graph -> encoder.rknn, and what the vendor's log says of it.

What the simulator needs to build the same file again is kept in the user's cache, by the file's
hash: it runs nothing else.
"""

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.cache_folder import cache_folder
from edgecompile.device.run_parts import ENCODER
from edgecompile.errors import ToolchainError
from edgecompile.files import sha256
from edgecompile.rockchip.read_log import Report, read_log
from edgecompile.rows_file import write_rows
from edgecompile.scratch import scratch_folder
from edgecompile.toolchain.ask import ANSWERS, FEEDS, ask, read_answers, write_feeds
from edgecompile.toolchain.once import once

if TYPE_CHECKING:
    from edgecompile.graph import FloatArray

TOOLCHAIN = "rknn"
WORKER = Path(__file__).parent / "rknn_worker.py"
COMPILE_LIMIT_S, SIMULATE_LIMIT_S = 900.0, 3600.0
MEMORY_LIMIT_BYTES = 16 << 30
MODEL, SAMPLES = "encoder.onnx", "calibration.npz"
KEPT = ("encoder.onnx", "encoder.model", "encoder.data", "encoder.quantization.cfg")
"""What the worker leaves, and builds from: the float graph where it is all there is."""
MOST_KEPT = 4
"""Simulators' folders in the cache, of some 45 MB for MiniLM: the oldest give way."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What is compiled: the chip in the vendor's words, the inputs' names, and what has 8 bits.

    `narrow` are operators in the vendor's names; None is 8 bits for all. What is not `quantized`
    is float16 throughout.
    """

    chip: Mapping[str, str]
    inputs: Sequence[str]
    narrow: Sequence[str] | None
    quantized: bool

    @property
    def request(self) -> dict[str, Any]:
        """Return what the worker is told."""
        return {
            "model": MODEL,
            "chip": dict(self.chip),
            "inputs": list(self.inputs),
            "narrow": None if self.narrow is None else list(self.narrow),
            "calibration": SAMPLES if self.quantized else "",
        }


def compile_encoder(
    model: Path, wish: Wish, samples: "Sequence[Sequence[FloatArray]]", folder: Path
) -> Report:
    """Write encoder.rknn into a folder; return what the log says.

    A sample has an array for each of the inputs. Raises ToolchainError where the compiler fails,
    writes nothing, or its log says that something is wrong.
    """
    from edgecompile.toolchain.worker import LOG

    with scratch_folder() as place:
        shutil.copyfile(model, place / MODEL)
        if wish.quantized:
            write_rows(place / SAMPLES, _named(wish.inputs, samples))
        _work({"do": "compile", **wish.request}, place, COMPILE_LIMIT_S)
        made = place / ENCODER
        if not made.is_file() or not made.stat().st_size:
            msg = "rknn: the compiler wrote no file, though it reported success"
            raise ToolchainError(msg)
        report = read_log((place / LOG).read_text(encoding="utf-8", errors="replace"))
        if report.faults:
            msg = f"rknn: the compiler's log says: {report.faults[0][:300]}"
            raise ToolchainError(msg)
        if not report.operators:
            msg = "rknn: the compiler's log has no table of operators: where they run is not known"
            raise ToolchainError(msg)
        shutil.copyfile(made, folder / ENCODER)
        _keep(place, sha256(made), quantized=wish.quantized)
    return report


def simulate(
    artifact: Path, wish: Wish, feeds: "Sequence[Sequence[FloatArray]]"
) -> "list[list[FloatArray]]":
    """Return the encoder's answers to each feed, in the simulator.

    It builds the file anew, so a recompilation is compared too: the bytes must be the same.
    """
    key = sha256(artifact)
    with _kept(key) as kept, scratch_folder() as place:
        for path in kept.iterdir():
            shutil.copyfile(path, place / path.name)
        write_feeds(_named(wish.inputs, feeds), place)
        asked = {"do": "run", "feeds": FEEDS, "answers": ANSWERS, **wish.request}
        _work(asked, place, SIMULATE_LIMIT_S)
        if sha256(place / ENCODER) != key:
            msg = f"rknn: {artifact.name} compiled twice is not the same file twice"
            raise ToolchainError(msg)
        return [list(row.values()) for row in read_answers(place)]


def _named(
    names: Sequence[str], samples: "Sequence[Sequence[FloatArray]]"
) -> "list[dict[str, FloatArray]]":
    return [dict(zip(names, sample, strict=True)) for sample in samples]


def _work(request: Mapping[str, Any], place: Path, time_limit_s: float) -> None:
    ask(
        TOOLCHAIN,
        WORKER,
        request,
        place,
        time_limit_s=time_limit_s,
        memory_limit_bytes=MEMORY_LIMIT_BYTES,
    )


def _folders() -> Path:
    return cache_folder() / "rknn"


def _keep(place: Path, key: str, *, quantized: bool) -> None:
    """Keep what the simulator builds from."""
    names = KEPT[1:] if quantized else KEPT[:1]

    def fill(scratch: Path) -> None:
        for name in names:
            shutil.copyfile(place / name, scratch / name)

    once(_folders() / key[:16], fill)
    others = [path for path in _folders().iterdir() if path.is_dir() and path.name != key[:16]]
    for old in sorted(others, key=lambda path: path.stat().st_mtime)[: 1 - MOST_KEPT]:
        shutil.rmtree(old, ignore_errors=True)
        old.with_name(f"{old.name}.lock").unlink(missing_ok=True)


@contextmanager
def _kept(key: str) -> Iterator[Path]:
    folder = _folders() / key[:16]
    if not folder.is_dir():
        msg = (
            "Rockchip's simulator runs what it has compiled, no .rknn file, and nothing of this one"
            " is left in the cache: build the bundle again, or run its smoke.py on the board"
        )
        raise ToolchainError(msg)
    yield folder

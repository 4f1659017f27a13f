"""What a peer's script is asked: quantize this model with these samples, one way, into a folder.

Runs in the peer's environment, which has numpy and not edgecompile.
"""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

Feed = dict[str, np.ndarray[Any, Any]]
Way = Callable[[Path, Path, list[Feed]], None]
"""(float .onnx, folder, calibration samples): writes model.onnx or model.xml into the folder."""


def serve(ways: Mapping[str, Way]) -> None:
    """Answer `SCRIPT WAY MODEL SAMPLES FOLDER`; print the seconds, imports left out."""
    way, model, data, folder = sys.argv[1:]
    Path(folder).mkdir()
    start = time.perf_counter()
    ways[way](Path(model), Path(folder), read_samples(Path(data)))
    print(f"seconds {time.perf_counter() - start:.2f}")


def write_samples(path: Path, feeds: list[Feed]) -> None:
    """Write samples of any lengths as "number/input" arrays."""
    arrays = {f"{n:04}/{name}": a for n, feed in enumerate(feeds) for name, a in feed.items()}
    np.savez(path, **arrays)


def read_samples(path: Path) -> list[Feed]:
    """Read them back: one feed a sample, no padding."""
    found: dict[str, Feed] = {}
    with np.load(path, allow_pickle=False) as archive:
        for key in archive.files:
            number, _, name = key.partition("/")
            found.setdefault(number, {})[name] = archive[key]
    return list(found.values())

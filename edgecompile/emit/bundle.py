"""The folder that goes to the device: artifact, golden vectors, smoke test, manifest, profile."""

import json
import shutil
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile.files import sha256, write_json
from edgecompile.plugins import folder_of, packages

if TYPE_CHECKING:
    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray

GOLDEN, SMOKE, MANIFEST, PROFILE = "golden.npz", "smoke.py", "manifest.json", "profile.json"
WATTS, RUNTIME = "watts.py", "runtime.py"
"""What smoke.py measures energy with, and opens the artifact with."""
DEVICE = Path(__file__).parents[1] / "device"
"""The programs that go to the device as they are."""
TOKENIZER, SAMPLES = "tokenizer.json", "samples.json"
MOST_SAMPLES, FEWEST_SAMPLES, GOLDEN_BYTES = 16, 4, 1 << 24
"""A bundle holds up to 16 golden samples; fewer where caches or images make them large."""


def how_many(feeds: "Sequence[Feed]", expected: "Sequence[Sequence[FloatArray]]") -> int:
    """Return how many of the golden samples go into a bundle."""
    size = count = 0
    for feed, answers in zip(feeds[:MOST_SAMPLES], expected[:MOST_SAMPLES], strict=True):
        size += sum(array.nbytes for array in (*feed.values(), *answers))
        if size > GOLDEN_BYTES and count >= FEWEST_SAMPLES:
            break
        count += 1
    return count


def write_golden(
    folder: Path,
    outputs: Sequence[str],
    feeds: "Sequence[Feed]",
    expected: "Sequence[Sequence[FloatArray]]",
) -> str:
    """Write inputs and the float model's answers as NNN/in/NAME and NNN/out/NAME."""
    import numpy as np

    arrays: dict[str, np.ndarray[Any, Any]] = {}
    for number, (feed, answers) in enumerate(zip(feeds, expected, strict=True)):
        arrays |= {f"{number:03}/in/{name}": array for name, array in feed.items()}
        pairs = zip(outputs, answers, strict=True)
        arrays |= {f"{number:03}/out/{name}": array for name, array in pairs}
    np.savez_compressed(folder / GOLDEN, **arrays)  # type: ignore[arg-type]
    return GOLDEN


def write_tokenizer(folder: Path, tokenizer: bytes) -> list[str]:
    """Write the tokenizer.json that goes with the artifact, if there is one."""
    if not tokenizer:
        return []
    (folder / TOKENIZER).write_bytes(tokenizer)
    return [TOKENIZER]


def write_samples(folder: Path, samples: Mapping[str, Any]) -> str:
    """Write how each golden sample was answered, and the worst ones."""
    write_json(folder / SAMPLES, samples)
    return SAMPLES


def write_smoke_test(folder: Path, engine: str) -> list[str]:
    """Copy smoke.py, executable, what it measures energy with, and how an engine is run."""
    for name in (SMOKE, WATTS):
        shutil.copyfile(DEVICE / name, folder / name)
    shutil.copyfile(runtime_file(engine), folder / RUNTIME)
    path = folder / SMOKE
    path.chmod(path.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    return [SMOKE, WATTS, RUNTIME]


def runtime_file(engine: str) -> Path:
    """Return the program that opens an engine's artifacts on the device."""
    if engine in packages():
        return folder_of(engine) / RUNTIME
    return DEVICE / "runtimes" / f"{engine}.py"


def write_manifest(
    folder: Path, manifest: dict[str, Any], profile: dict[str, Any], files: Sequence[str]
) -> dict[str, Any]:
    """Write profile.json, then manifest.json with the hash of every other file."""
    write_json(folder / PROFILE, profile)
    hashes = {name: sha256(folder / name) for name in sorted([*files, PROFILE])}
    manifest = json.loads(json.dumps(manifest | {"files": hashes}))  # as a reader will see it
    write_json(folder / MANIFEST, manifest)
    return manifest

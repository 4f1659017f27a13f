"""onnxruntime's own dynamic int8 of the float model, at its default settings: the peer to beat.

Also a program: `python -m edgecompile.profile.quantize_dynamic FLOAT OUTPUT`. It runs as a process
of its own, because it needs several times the model's memory.
"""

import subprocess
import sys
from pathlib import Path

from edgecompile.session import BIG_BYTES

TIME_LIMIT_S = 1800


def model_bytes(model: Path) -> int:
    """Return the bytes of a model's files: its weights may lie beside it."""
    return sum(p.stat().st_size for p in model.parent.glob(f"{model.name}*"))


def quantize_dynamic(model: Path, output: Path, largest_bytes: int = BIG_BYTES) -> str | None:
    """Write the dynamic int8 model; return None, or why there is none."""
    size = model_bytes(model)
    if size > largest_bytes:
        return (
            f"not tried: the float model has {size / 1e9:.1f} GB, and onnxruntime's quantizer"
            f" needs several times that (limit: {largest_bytes / 1e9:.1f} GB)"
        )
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        [sys.executable, "-P", "-m", __name__, str(model), str(output)],
        capture_output=True,
        text=True,
        check=False,
        timeout=TIME_LIMIT_S,
    )
    if done.returncode == 0:
        return None
    return (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]


def main(model: str, output: str) -> None:
    """Quantize at the default settings."""
    from onnxruntime.quantization import quantize_dynamic as onnxruntimes_own

    onnxruntimes_own(model, output)


if __name__ == "__main__":
    main(*sys.argv[1:])

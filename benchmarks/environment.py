"""A virtual environment of its own for each peer, from a hash-locked list in locks/peers/."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
TORCH = "torch==2.13.0"
"""Installed apart, as in the Makefile: no hash-locked CPU wheel exists for every machine."""
NEED_TORCH = ("olive", "optimum")


def environment(peer: str) -> Path:
    """Return the Python of a peer's environment; make it when its lock file has changed.

    RuntimeError: what venv or pip said.
    """
    lock = ROOT / "locks" / "peers" / f"{peer}.txt"
    folder = ROOT / f".venv-peer-{peer}"
    python, stamp = folder / "bin" / "python", folder / ".ready"
    wanted = lock.read_text(encoding="utf-8")
    if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
        return python
    print(f"making {folder.name} from locks/peers/{lock.name}", file=sys.stderr)
    _run([sys.executable, "-m", "venv", "--clear", folder])
    pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    if peer in NEED_TORCH:
        _run([*pip, TORCH])
    _run([*pip, "--no-deps", "--require-hashes", "-r", lock])
    stamp.write_text(wanted, encoding="utf-8")
    return python


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{command[0]} ended with {done.returncode}")

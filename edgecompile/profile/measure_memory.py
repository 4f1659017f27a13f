"""Peak memory of one inference: a fresh process loads the artifact, runs it, and says its peak.

Also a program: `python -m edgecompile.profile.measure_memory MODEL FEED ENGINE`.
"""

import subprocess
import sys
from pathlib import Path

from edgecompile.engines import REFERENCE, engine

TIME_LIMIT_S = 300


def measure_memory(artifact: Path, feed_file: Path, engine_name: str = REFERENCE) -> int:
    """Return the peak resident bytes of a process that runs a model once on an .npz of inputs.

    The Python interpreter and the runtime are included.
    """
    command = [sys.executable, "-P", "-m", __name__, str(artifact), str(feed_file), engine_name]
    done = subprocess.run(  # noqa: S603 - our own interpreter and module
        command, capture_output=True, text=True, check=True, timeout=TIME_LIMIT_S
    )
    return int(done.stdout)


def main(artifact: str, feed_file: str, engine_name: str) -> None:
    """Run once and print the peak in bytes."""
    import numpy as np

    run = engine(engine_name).runner(Path(artifact))
    with np.load(feed_file, allow_pickle=False) as feed:
        run({name: feed[name] for name in feed.files})
    sys.stdout.write(str(_peak_bytes()))


def _peak_bytes() -> int:
    """Return this process's own peak; getrusage would show the parent's, inherited at fork."""
    try:
        status = Path("/proc/self/status").read_text(encoding="utf-8")
        return next(
            int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")
        )
    except (OSError, StopIteration):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # bytes on macOS


if __name__ == "__main__":
    main(*sys.argv[1:])

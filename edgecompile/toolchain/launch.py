"""Run in a toolchain's own Python: call `work(request)` of a file, write its answer.

    python launch.py WORKER.py REQUEST.json ANSWER.json MEMORY_LIMIT_BYTES

Nothing of edgecompile is imported: that environment has none of what it needs. The answer is
{"answer": ...}, or {"error": line, "trace": text} of an exception.
"""

import ctypes
import json
import os
import resource
import runpy
import signal
import sys
import traceback
from pathlib import Path

DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of <sys/prctl.h>."""


def main(worker: str, request: str, answer: str, limit: str) -> None:
    """Call the worker's function within a limit of address space."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    if int(limit):
        resource.setrlimit(resource.RLIMIT_AS, (int(limit), int(limit)))
    given = json.loads(Path(request).read_text(encoding="utf-8"))
    try:
        told = {"answer": runpy.run_path(worker)["work"](given)}
    except BaseException as error:  # a vendor's code raises and exits as it likes
        line = (str(error).strip().splitlines() or [""])[0]
        told = {"error": f"{type(error).__name__}: {line}", "trace": traceback.format_exc()}
        traceback.print_exc()
    scratch = Path(f"{answer}.part")
    scratch.write_text(json.dumps(told), encoding="utf-8")
    scratch.rename(answer)
    sys.stdout.flush()
    sys.stderr.flush()
    ctypes.CDLL(None).fflush(None)  # what C code printed is in a buffer of its own
    os._exit(0)  # some vendors' libraries crash while they are unloaded; all is written


if __name__ == "__main__":
    main(*sys.argv[1:5])

"""What runs under emulation: one inference, marked for the plugin that counts.

    python run_marked.py RUNTIME ARTIFACT FEED.npz [PROFILE_PREFIX]

RUNTIME is the bundle's runtime.py, which opens the artifact on one thread. Two inferences are
marked after one that is not counted. With a PROFILE_PREFIX onnxruntime profiles a third: it reads
the clock before and after each operator, which the plugin sees, and its profile says which is
which.
"""

import json
import os
import runpy
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np

MARK, BEGIN, END, BEGIN_WATCHED = 0x454300, 1, 2, 3
"""As in plugin.c."""


def mark(code: int) -> None:
    """Tell the plugin: a system call that does nothing, for no process has that number."""
    with suppress(OSError):
        os.getpgid(MARK | code)


def main(runtime_file: str, artifact: str, feed_file: str, prefix: str = "") -> None:
    """Run, and print where the profile lies and its time of day in ns."""
    with np.load(feed_file, allow_pickle=False) as archive:
        feed = {name: archive[name] for name in archive.files}
    run = runpy.run_path(runtime_file)["Runtime"]().open(artifact, 1)
    run(feed)
    for _ in range(2):
        mark(BEGIN)
        run(feed)
        mark(END)
    if prefix:
        sys.stdout.write(json.dumps(profile(artifact, feed, prefix)))


def profile(artifact: str, feed: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Let onnxruntime profile its operators in a watched region."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    options.enable_profiling = True
    options.profile_file_prefix = prefix
    session = ort.InferenceSession(artifact, options, ["CPUExecutionProvider"])
    session.run(None, feed)
    mark(BEGIN_WATCHED)
    session.run(None, feed)
    mark(END)
    start = session.get_profiling_start_time_ns()
    return {"file": session.end_profiling(), "start_ns": start}


if __name__ == "__main__":
    main(*sys.argv[1:])

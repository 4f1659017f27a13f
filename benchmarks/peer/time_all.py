"""Run all models in turn in one process, and compare each with the first.

Runs in the environment "openvino", which has both engines. Reads {"models": {name: path}, "data":
.npz, "length": tokens, "repeats": n} from its input; answers with {name: figures or an error}.
"""

import json
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from request import Feed, read_samples

from edgecompile.emit import onnxruntime
from edgecompile.evaluate.accuracy import compare
from edgecompile.profile.choose_feeds import resize
from edgecompile.profile.measure_latency import time_in_turn

Runner = Callable[[Feed], list[np.ndarray[Any, Any]]]


def open_openvino(path: str) -> Runner:
    """Open an .xml, or any .onnx, at OpenVINO's defaults on one thread."""
    import openvino

    settings = {"INFERENCE_NUM_THREADS": 1, "PERFORMANCE_HINT": "LATENCY"}
    request = openvino.Core().compile_model(path, "CPU", settings).create_infer_request()
    return lambda feed: [np.array(array) for array in request.infer(feed).values()]


def open_model(engine: str, path: str, feed: Feed) -> Runner:
    """Open a model and run it once; give it only the inputs that it has."""
    if engine == "openvino":
        run: Runner = open_openvino(path)
    else:
        run = onnxruntime.runner(Path(path), threads=1)
    run(feed)
    return run


def main() -> None:
    """Answer one request."""
    asked = json.load(sys.stdin)
    feeds = read_samples(Path(asked["data"]))
    runners, found = {}, {}
    for name, (engine, path) in asked["models"].items():
        try:
            runners[name] = open_model(engine, path, feeds[0])
        except Exception as error:
            found[name] = {"error": (str(error).strip().splitlines() or [type(error).__name__])[-1]}
    times = time_in_turn(runners, resize(feeds[0], asked["length"]), asked["repeats"])
    expected = None
    for name, run in runners.items():
        answers = [run(feed) for feed in feeds]
        expected = expected or answers
        seen = compare("cosine", answers, expected, feeds)
        found[name] = {"ms": statistics.median(times[name]), "mean": seen.mean, "min": seen.min}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()

"""An ExecuTorch program executed by its own Python runtime: in the toolchain's own Python.

Request: {"program", "feeds": FILE or "", "repeats", "threads"}; answer: {"metadata", "times_ms",
"calls" (of XNNPACK), "kernels" (ExecuTorch's own operators, counted)}.
With feeds, an .npz of NUMBER/NAME, answers.npz is written as NUMBER/PLACE. Each feed is run
`repeats` times more, and timed.
"""

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.exir._serialize._program import deserialize_pte_binary
from executorch.exir.schema import DelegateCall, KernelCall
from executorch.extension.pybindings import portable_lib
from executorch.runtime import Runtime

ANSWERS = "answers.npz"


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Load, run, time."""
    if request["threads"]:
        portable_lib._unsafe_reset_threadpool(request["threads"])  # noqa: SLF001 - there is no other
    raw = Path(request["program"]).read_bytes()
    program = Runtime.get().load_program(raw)
    metadata = json.loads(program.load_method("edgecompile").execute([])[0])
    told: dict[str, Any] = {"metadata": metadata, "times_ms": [], **_count(raw)}
    if not request["feeds"]:
        return told
    forward = program.load_method("forward")
    names = json.loads(metadata["edgecompile.inputs"])
    rows: dict[str, dict[str, Any]] = {}
    with np.load(request["feeds"], allow_pickle=False) as found:
        for key in found.files:
            number, name = key.split("/", 1)
            rows.setdefault(number, {})[name] = found[key]
    answers: dict[str, Any] = {}
    longest = int(metadata.get("edgecompile.longest", 0))
    for number, feed in rows.items():
        length = max([0, *(array.shape[1] for array in feed.values() if array.ndim == 2)])
        if longest and length > longest:
            msg = f"a text of {length} tokens: the program takes up to {longest}"
            raise ValueError(msg)
        tensors = [torch.from_numpy(feed[name].astype(kind)) for name, kind in names.items()]
        made = forward.execute(tensors)
        answers |= {f"{number}/{place}": x.numpy().copy() for place, x in enumerate(made)}
        times = []
        for _ in range(request["repeats"]):
            start = time.perf_counter()
            forward.execute(tensors)
            times.append((time.perf_counter() - start) * 1e3)
        told["times_ms"].append(times)
    np.savez(ANSWERS, **answers)
    return told


def _count(raw: bytes) -> dict[str, Any]:
    """Count the instructions of the file itself: delegated calls, and kernels by their name."""
    plans = deserialize_pte_binary(raw).program.execution_plan
    (plan,) = [plan for plan in plans if plan.name == "forward"]
    steps = [step.instr_args for chain in plan.chains for step in chain.instructions]
    names = [plan.operators[step.op_index].name for step in steps if isinstance(step, KernelCall)]
    kernels = {name: names.count(name) for name in sorted(set(names))}
    return {"calls": sum(isinstance(s, DelegateCall) for s in steps), "kernels": kernels}

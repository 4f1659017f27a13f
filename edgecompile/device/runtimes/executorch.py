"""How ExecuTorch's own Python runtime runs a program; its wheel wants torch beside it."""

import json
import os
from importlib.metadata import version
from pathlib import Path

PACKAGES = ("numpy", "torch", "executorch")


class Runtime:
    """ExecuTorch with XNNPACK, on the CPU."""

    emulates = False

    def __init__(self):
        """Import torch, which its library links, and the runtime."""
        import torch
        from executorch.extension.pybindings import portable_lib
        from executorch.runtime import Runtime as Own

        self.torch, self.own, self.version = torch, Own.get(), version("executorch")
        self.set_threads = portable_lib._unsafe_reset_threadpool  # noqa: SLF001 - no other way

    def open(self, path, threads):
        """Return a function from a feed to the outputs by name; 0 threads = all."""
        self.set_threads(threads or os.cpu_count())
        program = self.own.load_program(Path(path))
        self.opened = program  # its methods do not keep it alive
        about = json.loads(program.load_method("edgecompile").execute([])[0])
        kinds = json.loads(about["edgecompile.inputs"])
        names = json.loads(about["edgecompile.outputs"])
        forward = program.load_method("forward")

        def run(feed):
            tensors = [
                self.torch.from_numpy(feed[name].astype(kind)) for name, kind in kinds.items()
            ]
            answers = forward.execute(tensors)
            return {name: answer.numpy().copy() for name, answer in zip(names, answers)}

        return run

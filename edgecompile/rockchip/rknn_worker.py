"""Compiles for Rockchip's NPUs and simulates: runs in the toolchain's own Python.

Requests: {"do": "compile", "model": "encoder.onnx", "calibration": ".npz of NUMBER/INPUT" or "",
           "inputs": [names], "narrow": [operators] or None, "chip": {target_platform}}
          {"do": "run", the same, "feeds": ".npz of NUMBER/INPUT", "answers": ".npz"}

The simulator runs no .rknn file, only what was built in its own process. So "compile" leaves the
quantized graph beside encoder.rknn, and "run" builds that file anew from it: the caller compares.
"""

import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

OUTPUT = "encoder.rknn"
MOVES = frozenset({"Reshape", "Transpose", "exDataConvert"})
"""What changes no number in the vendor's graph."""
TENSORS = "quantize_parameters:"
"""What begins the ranges in the vendor's quantization.cfg."""
LOWEST_GELU = -3.5
"""Gelu(-3.5) is -0.0008: nothing below it needs steps of its own. MiniLM's mean gains 0.0007."""
TUNABLES = "GLIBC_TUNABLES"
ZEROS = "glibc.malloc.perturb=255"
"""Memory is given filled with the complement of 255."""
REUSED = ":glibc.malloc.tcache_count=0"
"""Also what was in use by this thread before. In float16 the compiler crashes with it (RK3588)."""


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request says."""
    clear_memory(ZEROS + REUSED * bool(request["calibration"]))
    leave_out_torch()
    try:
        return do(request)
    except Exception as error:  # the vendor's hold a whole traceback, its reason at the end
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise RuntimeError(lines[-1]) from error


def do(request: dict[str, Any]) -> dict[str, Any]:
    """Compile, or run."""
    if request["do"] == "compile" and request["calibration"]:
        quantize(request)
    built = build(request)
    must(built.export_rknn(OUTPUT), "export_rknn")
    if request["do"] == "run":
        must(built.init_runtime(target=None), "init_runtime")
        simulate(built, request)
    return {}


def clear_memory(tunables: str) -> None:
    """Let malloc give zeros: the compiler writes memory into its file that it never set.

    Without it no two compilations are the same, and files hold pieces of this process. glibc reads
    the setting at its start only, so this process starts anew.
    """
    if os.environ.get(TUNABLES) != tunables:
        os.execve(sys.executable, sys.orig_argv, os.environ | {TUNABLES: tunables})  # noqa: S606


def leave_out_torch() -> None:
    """Stand in for torch, which rknn imports, and needs for torch's own models alone.

    A use of anything else of it is an AttributeError.
    """
    torch, nn = ModuleType("torch"), ModuleType("torch.nn")
    nn.Module = type("Module", (), {})  # type: ignore[attr-defined]
    torch.nn, torch.__version__ = nn, "2.4.0"  # type: ignore[attr-defined]
    torch.no_grad = lambda: lambda function: function  # type: ignore[attr-defined]
    sys.modules |= {"torch": torch, "torch.nn": nn}


def new(request: dict[str, Any]) -> Any:
    """Return a configured RKNN; its log has the table of operators."""
    from rknn.api import RKNN  # type: ignore[import-not-found]

    opened = RKNN(verbose=True)
    must(opened.config(quantized_dtype="w8a8", **request["chip"]), "config")
    return opened


def quantize(request: dict[str, Any]) -> None:
    """Let the vendor observe the samples, and note what computes in float16."""
    order, stem = request["inputs"], Path(request["model"]).stem
    with np.load(request["calibration"], allow_pickle=False) as found:
        numbers = sorted({key.split("/", 1)[0] for key in found.files})
        for number in numbers:
            for place, name in enumerate(order):
                np.save(f"{number}.{place}.npy", found[f"{number}/{name}"])
    lines = [" ".join(f"{number}.{place}.npy" for place in range(len(order))) for number in numbers]
    Path("samples.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    opened = new(request)
    must(opened.load_onnx(model=request["model"]), "load_onnx")
    must(opened.hybrid_quantization_step1(dataset="samples.txt"), "hybrid_quantization_step1")
    opened.release()
    if request["narrow"] is not None:  # else all is as the vendor chose it
        config, graph = Path(f"{stem}.quantization.cfg"), Graph(Path(f"{stem}.model"))
        text = cut_ranges(config.read_text(encoding="utf-8"), graph)
        config.write_text(widen(text, graph, frozenset(request["narrow"])), encoding="utf-8")


def cut_ranges(text: str, graph: "Graph") -> str:
    """Raise the lowest number of what a Gelu reads to LOWEST_GELU in the vendor's file.

    It takes no other change of a range: scale and zero point are then its own.
    """
    read = {graph.source(node.input[0]) for node in graph.nodes if node.op_type == "exGelu"}
    for name in named(text):
        if name in graph.maker and graph.source(name) in read:
            entry = rf"(^    {re.escape(name)}:\n(?:        .*\n)*?        min:\n        -   )(\S+)"
            text = re.sub(entry, raise_lowest, text, count=1, flags=re.MULTILINE)
    return text


def raise_lowest(found: "re.Match[str]") -> str:
    """Return an entry whose lowest number is LOWEST_GELU at least."""
    return found[1] + repr(max(float(found[2]), LOWEST_GELU))


def widen(text: str, graph: "Graph", narrow: frozenset[str]) -> str:
    """Name in the vendor's file each tensor that no `narrow` operator makes: it is float16."""
    head, key, tail = text.partition(TENSORS)
    begins = "custom_quantize_layers:"
    wide = [name for name in named(text) if name in graph.maker and graph.is_wide(name, narrow)]
    if not key or not head.startswith(begins):
        msg = "the quantization.cfg is not as rknn-toolkit2 2.5 writes it"
        raise RuntimeError(msg)
    theirs = head.removeprefix(begins).replace("{}", "").strip("\n ")  # what has no 8-bit form
    lines = [line.strip() for line in theirs.splitlines()]
    lines += [line for name in wide if (line := f"{name}: float16") not in lines]
    every = "".join(f"\n    {line}" for line in lines) or " {}"
    return f"{begins}{every}\n{key}{tail}"


def named(text: str) -> list[str]:
    """Return the tensors that the vendor's file has entries of."""
    found = re.findall(r"^    (\S.*):$", text.partition(TENSORS)[2], flags=re.MULTILINE)
    return [name.strip("'\"") for name in found]


class Graph:
    """The vendor's graph, an ONNX file with operators of its own."""

    def __init__(self, file: Path) -> None:
        """Read it."""
        import onnx

        self.nodes = list(onnx.load(str(file)).graph.node)
        self.maker = {name: node for node in self.nodes for name in node.output}
        self.readers: dict[str, list[Any]] = {}
        for node in self.nodes:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)

    def source(self, name: str) -> str:
        """Return the tensor whose numbers a tensor holds, moved."""
        while name in self.maker and self.maker[name].op_type in MOVES:
            name = self.maker[name].input[0]
        return name

    def ends(self, name: str) -> set[str]:
        """Return the operators that read a tensor, moved or not."""
        found: set[str] = set()
        for node in self.readers.get(name, []):
            found |= self.ends(node.output[0]) if node.op_type in MOVES else {node.op_type}
        return found

    def is_wide(self, name: str, narrow: frozenset[str]) -> bool:
        """Say whether no `narrow` operator makes a tensor; of an input, whether none reads it."""
        name = self.source(name)
        if name in self.maker:
            return self.maker[name].op_type not in narrow
        return not self.ends(name) & narrow


def build(request: dict[str, Any]) -> Any:
    """Return what was compiled, from the quantized graph or, without samples, in float16."""
    opened, stem = new(request), Path(request["model"]).stem
    if not request["calibration"]:
        must(opened.load_onnx(model=request["model"]), "load_onnx")
        must(opened.build(do_quantization=False), "build")
        return opened
    files = (f"{stem}.{end}" for end in ("model", "data", "quantization.cfg"))
    names = ("model_input", "data_input", "model_quantization_cfg")
    done = opened.hybrid_quantization_step2(**dict(zip(names, files, strict=True)))
    must(done, "hybrid_quantization_step2")
    return opened


def simulate(built: Any, request: dict[str, Any]) -> None:
    """Answer feeds."""
    answers: dict[str, Any] = {}
    with np.load(request["feeds"], allow_pickle=False) as found:
        for number in sorted({key.split("/", 1)[0] for key in found.files}):
            given = built.inference(
                inputs=[found[f"{number}/{name}"] for name in request["inputs"]]
            )
            if given is None:
                must(-1, "inference")
            answers |= {f"{number}/{place}": array for place, array in enumerate(given)}
    np.savez(request["answers"], **answers)


def must(status: Any, what: str) -> None:
    """Raise where a call of the vendor's says that it failed."""
    if status != 0:
        msg = f"{what} failed"
        raise RuntimeError(msg)

"""A graph of graph_file.py -> an ExecuTorch program: runs in the toolchain's own Python.

Request: {"program", "longest", "metadata"}; answer: {"calls", "delegated", "left"}.
The graph becomes a torch module, node by node. A product with a rounded weight becomes the pattern
that XNNPACK's partitioner takes for a Linear of int8 weights and rows rounded at run time; nothing
is calibrated here. Batch 1, any length up to `longest`.
"""

import json
import runpy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
from executorch.exir import (
    EdgeCompileConfig,
    ExecutorchBackendConfig,
    to_edge_transform_and_lower,
)

GRAPH, ARRAYS = "graph.json", "arrays.npz"
NO_FORM = "has no ExecuTorch form"
FORMS = runpy.run_path(str(Path(__file__).with_name("forms.py")))["FORMS"]
TYPES = {"FLOAT": torch.float32, "INT64": torch.int64, "INT32": torch.int32, "BOOL": torch.bool}
LENGTH = 32
"""Tokens of the example that is traced: neither 0 nor 1, which torch takes for constants."""


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Trace, lower, save."""
    torch.manual_seed(0)
    graph = json.loads(Path(GRAPH).read_text(encoding="utf-8"))
    with np.load(ARRAYS, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    module = Graph(graph, arrays).eval()
    example, shapes = _example(graph, int(request["longest"]))
    exported = torch.export.export(module, example, dynamic_shapes=shapes, strict=False)
    lowered = to_edge_transform_and_lower(
        exported,
        partitioner=[XnnpackPartitioner()],
        compile_config=EdgeCompileConfig(_check_ir_validity=False),
        constant_methods={"edgecompile": json.dumps(request["metadata"], sort_keys=True)},
    )
    told = _count(lowered.exported_program())
    program = lowered.to_executorch(ExecutorchBackendConfig(extract_delegate_segments=True))
    Path(request["program"]).write_bytes(program.buffer)
    return told


def _example(graph: Any, longest: int) -> tuple[Any, Any]:
    """Return inputs to trace with, and which of their axes stay open."""
    length = torch.export.Dim("tokens", min=2, max=longest)
    traced = min(LENGTH, longest)
    example, shapes = [], []
    for value in graph["inputs"]:
        sizes = value["shape"]
        found = [1, *[traced] * len(sizes)]
        given = [found[n] if size is None else size for n, size in enumerate(sizes)]
        example.append(torch.ones(given, dtype=TYPES[value["type"]]))
        shapes.append({n: length for n, s in enumerate(sizes) if s is None and n})
    return tuple(example), (tuple(shapes),)


def _count(program: Any) -> dict[str, Any]:
    """Count the operators that XNNPACK took, and those that are left to the portable kernels."""
    left: dict[str, int] = {}
    inside: dict[str, int] = {}
    calls = 0
    for node in program.graph.nodes:
        if node.op != "call_function" or node.target.__name__ == "getitem":
            continue
        if node.target is torch.ops.higher_order.executorch_call_delegate:
            calls += 1
            held = getattr(program.graph_module, node.args[0].target).original_module
            for each in held.graph.nodes:
                if each.op == "call_function" and each.target.__name__ != "getitem":
                    name = each.target.__name__
                    inside[name] = inside.get(name, 0) + 1
        else:
            left[node.target.__name__] = left.get(node.target.__name__, 0) + 1
    return {
        "calls": calls,
        "delegated": dict(sorted(inside.items())),
        "left": dict(sorted(left.items())),
    }


class Graph(torch.nn.Module):  # type: ignore[misc]
    """The graph's nodes, run in order; its constants are buffers."""

    def __init__(self, graph: Any, arrays: Any) -> None:
        """Keep the nodes; single numbers and sizes stay Python's."""
        super().__init__()
        self.sizes: dict[str, Any] = {}
        self.places: dict[str, str] = {}
        self.rounded: dict[str, tuple[str, int]] = {}
        self.inputs = [value["name"] for value in graph["inputs"]]
        self.outputs = [value["name"] for value in graph["outputs"]]
        self.nodes = _with_biases(graph, arrays)
        for node in self.nodes:
            if node["op"] not in FORMS:
                msg = f"node '{node['name']}' ({node['op']}) {NO_FORM}"
                raise NotImplementedError(msg)
            if node["op"] == "Product":
                self._keep_rows(node, arrays)
        read = {name for node in self.nodes for name in node["inputs"]}
        for name in sorted(read & arrays.keys()):
            array = arrays[name]
            whole = array.dtype.kind == "i" and array.dtype != np.int8 and array.ndim < 2
            if whole or array.ndim == 0:
                self.sizes[name] = array.tolist()
            else:
                self.keep(name, array)

    def _keep_rows(self, node: Any, arrays: Any) -> None:
        """Keep a Linear's weight as torch has it, [out, in]: XNNPACK takes no other constant."""
        name = node["inputs"][1]
        arrays[f"{name}.rows"] = np.ascontiguousarray(arrays[name].T)
        node["inputs"][1] = f"{name}.rows"

    def keep(self, name: str, array: Any) -> None:
        """Register a buffer."""
        self.places[name] = f"c{len(self.places)}"
        self.register_buffer(self.places[name], torch.from_numpy(np.array(array)))

    def forward(self, *inputs: Any) -> Any:
        """Return the outputs in their order."""
        values: dict[str, Any] = {"": None, **self.sizes}
        values |= {name: getattr(self, place) for name, place in self.places.items()}
        values |= dict(zip(self.inputs, inputs, strict=True))
        for node in self.nodes:
            given = [values[name] for name in node["inputs"]]
            values[node["outputs"][0]["name"]] = FORMS[node["op"]](node, given, values)
        return tuple(values[name] for name in self.outputs)


def _with_biases(graph: Any, arrays: Any) -> list[Any]:
    """Join what is one operator in torch: a product, its weight's rounding, and its bias.

    Product(x, W, bias)   Product(x, Wq, bias, scale, zero)   Lookup(table_q, scale, ids)
    """
    makers = {node["outputs"][0]["name"]: node for node in graph["nodes"]}
    users: dict[str, list[Any]] = {}
    for node in graph["nodes"]:
        for name in node["inputs"]:
            users.setdefault(name, []).append(node)
    ends = {value["name"] for value in graph["outputs"]}
    done: set[str] = set()
    made = []
    for given in graph["nodes"]:
        node = dict(given)
        if node["name"] in done or node["op"] == "DequantizeLinear":
            continue
        read: list[str] = [*node["inputs"], "", ""]
        x, weight = read[:2]
        rounding = makers.get(weight if node["op"] == "MatMul" else x)
        rounded = rounding is not None and rounding["op"] == "DequantizeLinear"
        parts: list[str] = rounding["inputs"] if rounding is not None else []
        if node["op"] == "Gather" and rounded:
            node |= {"op": "Lookup", "inputs": [parts[0], parts[1], node["inputs"][1]]}
        elif node["op"] == "MatMul" and (rounded or _is_matrix(arrays, weight)):
            add = _bias_of(node, users, ends, arrays)
            bias = "" if add is None else next(n for n in add["inputs"] if n in arrays)
            inputs = [x, parts[0], bias, *parts[1:3]] if rounded else [x, weight, bias]
            last = node if add is None else add
            done.add(last["name"])
            node |= {"op": "Product", "inputs": inputs, "outputs": last["outputs"]}
        made.append(node)
    return made


def _is_matrix(arrays: Any, name: str) -> bool:
    return name in arrays and arrays[name].ndim == 2


def _bias_of(node: Any, users: Any, ends: set[str], arrays: Any) -> Any:
    """Return the Add that alone reads a product, if what it adds is a vector."""
    name = node["outputs"][0]["name"]
    readers = users.get(name, [])
    if name in ends or len(readers) != 1 or readers[0]["op"] != "Add":
        return None
    others = [given for given in readers[0]["inputs"] if given != name]
    vector = len(others) == 1 and others[0] in arrays and arrays[others[0]].ndim == 1
    return readers[0] if vector else None

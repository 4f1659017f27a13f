"""A graph of graph_file.py -> a Core ML package: runs in the toolchain's own Python.

Request: {"package", "minimum" (a deployment target), "metadata"}; answer: {"operators": counts}.
Every number is float16 but ids, masks and outputs; the builder's own passes are left out, so the
package holds the operators of forms.py and no others. What it would date or number at
random, the contents name.
"""

import hashlib
import json
import runpy
import uuid
from pathlib import Path
from typing import Any

import coremltools as ct
import numpy as np
from coremltools import proto
from coremltools.converters.mil import Builder as mb  # noqa: N813 - as its documentation does
from coremltools.converters.mil.mil import Function, Program, types

GRAPH, ARRAYS = "graph.json", "arrays.npz"
FORMS_FILE = Path(__file__).with_name("forms.py")
KNOWN = runpy.run_path(str(FORMS_FILE))
FORMS, NO_FORM, constant = KNOWN["FORMS"], KNOWN["NO_FORM"], KNOWN["constant"]
AUTHOR, SPEC = "com.apple.CoreML", "model.mlmodel"


def work(request: dict[str, Any]) -> dict[str, Any]:
    """Build, save, make the same bytes of the same graph."""
    graph = json.loads(Path(GRAPH).read_text(encoding="utf-8"))
    with np.load(ARRAYS, allow_pickle=False) as found:
        arrays = {name: found[name] for name in found.files}
    target = getattr(ct.target, request["minimum"])
    program, operators = _program(graph, arrays, target)
    model = ct.convert(
        program,
        convert_to="mlprogram",
        minimum_deployment_target=target,
        compute_precision=ct.precision.FLOAT32,  # float16 is stated, tensor by tensor
        pass_pipeline=ct.PassPipeline.EMPTY,
        skip_model_load=True,
    )
    package = Path(request["package"])
    model.save(str(package))
    _label(package, request["metadata"])
    return {"operators": operators}


def _program(graph: Any, arrays: Any, target: Any) -> tuple[Any, dict[str, int]]:
    inputs = {
        value["name"]: mb.placeholder(
            shape=value["shape"], dtype=types.fp32 if value["type"] == "FLOAT" else types.int32
        )
        for value in graph["inputs"]
    }
    with Function(inputs, opset_version=target) as function:
        writer = Writer(graph, arrays, dict(function.inputs))
        outputs = [writer.output(value) for value in graph["outputs"]]
        function.set_outputs(outputs)
    program = Program()
    program.add_function("main", function)
    counts: dict[str, int] = {}
    for operation in function.operations:
        if operation.op_type != "const":
            counts[operation.op_type] = counts.get(operation.op_type, 0) + 1
    return program, dict(sorted(counts.items()))


class Writer:
    """The function that is written: each tensor's variable by its name."""

    def __init__(self, graph: Any, arrays: Any, inputs: dict[str, Any]) -> None:
        """Write all nodes in their order."""
        self.arrays, self.values = arrays, {}
        self.rounded: dict[str, tuple[Any, Any, int]] = {}
        self.users: dict[str, list[Any]] = {}
        self.done: set[str] = set()
        for name, value in inputs.items():
            half = value.dtype == types.fp32
            self.values[name] = (
                mb.cast(x=value, dtype="fp16", name=f"{name}_fp16") if half else value
            )
        for node in graph["nodes"]:
            for name in node["inputs"]:
                self.users.setdefault(name, []).append(node)
        self.ends = {value["name"] for value in graph["outputs"]}
        for node in graph["nodes"]:
            if node["name"] not in self.done:
                self._write(node)

    def _write(self, node: Any) -> None:
        if node["op"] not in FORMS:
            msg = f"node '{node['name']}' ({node['op']}) {NO_FORM}"
            raise NotImplementedError(msg)
        name = node["outputs"][0]["name"]
        made = FORMS[node["op"]](self, node, self.named(name))
        if made is not None:
            self.values.setdefault(name, made)

    def named(self, name: str) -> str:
        """Return what a tensor is called in the program; an output's own name is the result's."""
        return f"{_safe(name)}_fp16" if name in self.ends else _safe(name)

    def output(self, value: Any) -> Any:
        """Return a graph output as float32 under its own name."""
        given, name = self.values[value["name"]], _safe(value["name"])
        if given.dtype == types.fp16:
            return mb.cast(x=given, dtype="fp32", name=name)
        return mb.identity(x=given, name=name)

    def read(self, name: str) -> Any:
        """Return a tensor: what was computed, or a constant as float16, int32 or bool."""
        if name in self.values:
            return self.values[name]
        if name in self.rounded:
            return self.weight(name, transposed=False)
        return constant(self.arrays[name])

    def weight(self, name: str, *, transposed: bool) -> Any:
        """Return a rounded weight as it is, or [out, in]; it is stored once for each form."""
        q, scale, axis = self.rounded[name]
        key = f"{name}.rows" if transposed else name
        if key not in self.values:
            self.values[key] = mb.constexpr_affine_dequantize(
                quantized_data=np.ascontiguousarray(q.T if transposed else q),
                zero_point=np.int8(0),
                scale=scale.astype(np.float16),
                axis=np.int32(1 - axis if transposed else axis),
                name=_safe(key),
            )
        return self.values[key]

    def numbers(self, node: Any, place: int) -> list[int] | None:
        """Return a constant input's integers, None where it is left out."""
        if len(node["inputs"]) <= place or not node["inputs"][place]:
            return None
        if node["inputs"][place] not in self.arrays:
            msg = f"node '{node['name']}' ({node['op']}) with computed sizes {NO_FORM}"
            raise NotImplementedError(msg)
        return [int(n) for n in self.arrays[node["inputs"][place]].reshape(-1)]

    def bias_of(self, node: Any) -> Any:
        """Return the Add that alone reads a product, if it adds a vector, and the vector."""
        (name,) = (value["name"] for value in node["outputs"])
        users = self.users.get(name, [])
        if name in self.ends or len(users) != 1 or users[0]["op"] != "Add":
            return None
        (other,) = [given for given in users[0]["inputs"] if given != name] or [""]
        array = self.arrays.get(other)
        return (users[0], array) if array is not None and array.ndim == 1 else None


def _safe(name: str) -> str:
    """Return a name as MIL takes it: letters, digits, underscores."""
    text = "".join(c if c.isalnum() and c.isascii() else "_" for c in name)
    return text if text[:1].isalpha() or text[:1] == "_" else f"_{text}"


def _label(package: Path, metadata: dict[str, str]) -> None:
    """Write what the package says of itself; name its parts by their contents, not at random."""
    folder = package / "Data" / AUTHOR
    spec = proto.Model_pb2.Model()
    spec.ParseFromString((folder / SPEC).read_bytes())
    spec.description.metadata.userDefined.update(metadata)
    (folder / SPEC).write_bytes(spec.SerializeToString(deterministic=True))
    (folder / SPEC).chmod(0o644)
    weights = folder / "weights" / "weight.bin"
    digest = hashlib.sha256((folder / SPEC).read_bytes())
    digest.update(weights.read_bytes() if weights.is_file() else b"")
    names = {SPEC: "CoreML Model Specification", "weights": "CoreML Model Weights"}
    items = {
        str(uuid.uuid5(uuid.NAMESPACE_OID, f"{digest.hexdigest()}/{name}")): {
            "author": AUTHOR, "description": what, "name": name, "path": f"{AUTHOR}/{name}",
        }
        for name, what in names.items() if (folder / name).exists()
    }  # fmt: skip
    table = {"fileFormatVersion": "1.0.0", "itemInfoEntries": items}
    table["rootModelIdentifier"] = next(iter(items))
    (package / "Manifest.json").write_text(json.dumps(table, indent=4) + "\n", encoding="utf-8")

"""An .onnx file of any exporter -> a graph in the canonical opset, checked and tidied.

External data is opened only inside the file's folder. Nothing is recognised here yet: that is the
canonicalise stage.
"""

from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import onnx_ir as ir
from onnx_ir.passes.common import (
    InlinePass,
    LiftConstantsToInitializersPass,
    NameFixPass,
    RemoveInitializersFromInputsPass,
    RemoveUnusedNodesPass,
    RemoveUnusedOpsetsPass,
    TopologicalSortPass,
)

from edgecompile.errors import EdgeCompileError, ModelError, UnsupportedError
from edgecompile.opset import CANONICAL, ir_version_of
from edgecompile.session import SHARED_FROM_BYTES

if TYPE_CHECKING:
    import onnx

QUANTIZED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "MatMulInteger",
     "MatMulIntegerToFloat", "DynamicQuantizeMatMul", "QLinearMatMul", "MatMulNBits", "QAttention"}
)  # fmt: skip
OLDEST = 11


def read(path: Path) -> ir.Model:
    """Read, check and tidy an .onnx file; its weights stay mapped, not copied."""
    try:
        model = _load(path)
    except Exception as error:  # protobuf, onnx_ir and the OS each raise their own
        msg = f"{path}: not a readable ONNX file ({_first_line(error)}); export it again"
        raise ModelError(msg) from error
    if not len(model.graph) or not model.graph.outputs:
        msg = f"{path}: holds no graph with nodes and outputs; export it again"
        raise ModelError(msg)
    _check_external(path, model)
    _check_sound(path, model)
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if isinstance(tensor, ir.ExternalTensor) and tensor.nbytes < SHARED_FROM_BYTES:
            value.const_value = ir.Tensor(tensor.numpy().copy(), name=value.name)
    try:
        return tidy(model, path)
    except EdgeCompileError:
        raise
    except Exception as error:  # onnx and onnx_ir raise what they like on a malformed graph
        msg = f"{path}: not a sound graph ({_first_line(error)}); export it again"
        raise ModelError(msg) from error


def _load(path: Path) -> ir.Model:
    import onnx

    proto = onnx.load(path, load_external_data=False)
    _rename_redefined(proto.graph)
    model = ir.from_proto(proto)
    ir.external_data.set_base_dir(model.graph, path.parent)
    return model


def _rename_redefined(graph: "onnx.GraphProto") -> None:
    """Give each tensor a name of its own; the last one keeps a name that several have.

    torch's dynamo exporter names an output without asking whether a weight or an inner tensor is
    called so; the nodes between read the earlier one.
    """
    names = [tensor.name for tensor in graph.initializer]
    left = Counter(names + [name for node in graph.node for name in node.output if name])
    if max(left.values(), default=0) < 2:
        return
    taken, current = set(left), dict[str, str]()

    def define(name: str) -> str:
        left[name] -= 1
        current[name] = name
        while left[name] > 0 and current[name] in taken:
            current[name] += "_"
        taken.add(current[name])
        return current[name]

    for tensor in graph.initializer:
        tensor.name = define(tensor.name)
    for node in graph.node:
        node.input[:] = [current.get(name, name) for name in node.input]
        node.output[:] = [define(name) if name else name for name in node.output]


def tidy(model: ir.Model, path: Path) -> ir.Model:
    """Inline functions, lift constants, fix names, convert the opset."""
    for node in model.graph:
        if node.op_type in QUANTIZED:
            what = f"node '{node.name}' is a {node.op_type}"
            msg = f"{path}: {what}: quantized already; give the float model"
            raise UnsupportedError(msg)
    for value in model.graph.initializers.values():
        if value.dtype in (ir.DataType.FLOAT16, ir.DataType.BFLOAT16):
            kind = value.dtype.name.lower()
            msg = f"{path}: weight '{value.name}' is {kind}; give the float32 model"
            raise UnsupportedError(msg)
    InlinePass()(model)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    RemoveInitializersFromInputsPass()(model)
    RemoveUnusedNodesPass()(model)
    RemoveUnusedOpsetsPass()(model)
    NameFixPass()(model)
    model = _convert_opset(model, path)
    LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    try:
        TopologicalSortPass()(model)
    except ValueError as error:
        msg = f"{path}: its nodes form a circle ({_first_line(error)}); export it again"
        raise ModelError(msg) from error
    return model


def external_files(path: Path) -> list[Path]:
    """Return the files that a graph's external data lies in, sorted."""
    tensors = (value.const_value for value in _load(path).graph.initializers.values())
    names = {str(t.location) for t in tensors if isinstance(t, ir.ExternalTensor)}
    return [path.parent / name for name in sorted(names)]


def _check_external(path: Path, model: ir.Model) -> None:
    folder = path.parent.resolve()
    for tensor in _external_tensors(model):
        file = (folder / str(tensor.location).replace("\0", "?")).resolve()
        where = f"{path}: tensor '{tensor.name}' lies in '{tensor.location}'"
        if not file.is_relative_to(folder):
            msg = (
                f"{where}, outside the model's folder: refused; copy all its files into one folder"
            )
            raise ModelError(msg)
        if not file.is_file():
            msg = f"{where}, which is missing; put it beside {path.name}"
            raise ModelError(msg)
        end = (tensor.offset or 0) + tensor.nbytes
        if file.stat().st_size < end:
            msg = f"{where}, which is truncated: {file.stat().st_size} bytes, {end} needed"
            raise ModelError(msg)


def _check_sound(path: Path, model: ir.Model) -> None:
    """Refuse weights whose bytes are not there, and nodes that read what nothing makes."""
    for name, weight in model.graph.initializers.items():
        tensor = weight.const_value
        if isinstance(tensor, ir.TensorProtoTensor) and not _holds_all(tensor):
            what = f"weight '{name}' lacks bytes for its shape {list(tensor.shape)}"
            msg = f"{path}: {what}; export it again"
            raise ModelError(msg)
    known = {*model.graph.inputs, *model.graph.initializers.values()}
    for node in model.graph:
        for value in filter(None, node.inputs):
            if value.producer() is None and value not in known:
                what = f"node '{node.name}' ({node.op_type}) reads '{value.name}'"
                msg = f"{path}: {what}, which nothing makes; export it again"
                raise ModelError(msg)


def _holds_all(tensor: ir.TensorProtoTensor) -> bool:
    proto = tensor.raw
    if proto.HasField("raw_data"):
        return len(proto.raw_data) == tensor.nbytes
    typed = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data", "string_data")
    return tensor.size == 0 or any(len(getattr(proto, field)) for field in typed)


def _external_tensors(model: ir.Model) -> Iterator[ir.ExternalTensor]:
    """Yield those of the graph, of its subgraphs and functions, and of nodes' attributes."""
    for graph in (model.graph, *model.graph.subgraphs()):
        for value in graph.initializers.values():
            if isinstance(value.const_value, ir.ExternalTensor):
                yield value.const_value
    inner = (function.all_nodes() for function in model.functions.values())
    for node in chain(model.graph.all_nodes(), *inner):
        for attribute in node.attributes.values():
            if isinstance(attribute.value, ir.ExternalTensor):
                yield attribute.value


def _convert_opset(model: ir.Model, path: Path) -> ir.Model:
    """Convert to the canonical opset with onnx's own converter, the weights left out."""
    opset = model.graph.opset_imports.get("", 0)
    if opset == CANONICAL:
        return model
    if not OLDEST <= opset <= CANONICAL:
        msg = f"{path}: opset {opset}; opsets {OLDEST} to {CANONICAL} are read: export it again"
        raise UnsupportedError(msg)
    from onnx import version_converter

    weights = {n: v.const_value for n, v in model.graph.initializers.items()}
    large = {n: t for n, t in weights.items() if t is not None and t.size > LARGE}
    stripped = _weights_to_inputs(model, large)
    try:
        proto = version_converter.convert_version(ir.to_proto(stripped), CANONICAL)
    except Exception as error:  # the converter raises RuntimeError and its own
        msg = (
            f"{path}: opset {opset} cannot be converted to {CANONICAL} ({_first_line(error)});"
            " export it again with opset 17 or newer"
        )
        raise UnsupportedError(msg) from error
    converted = ir.from_proto(proto)
    converted.ir_version = ir_version_of(CANONICAL)
    return _inputs_to_weights(converted, large)


LARGE = 64
"""Elements above which a weight cannot be an axis, a shape or a scale that the converter reads."""


def _weights_to_inputs(model: ir.Model, names: "dict[str, ir.TensorProtocol]") -> ir.Model:
    model = model.clone()
    for name in names:
        value = model.graph.initializers.pop(name)
        value.const_value = None
        model.graph.inputs.append(value)
    return model


def _inputs_to_weights(model: ir.Model, weights: "dict[str, ir.TensorProtocol]") -> ir.Model:
    for value in [v for v in model.graph.inputs if v.name in weights]:
        model.graph.inputs.remove(value)
        value.const_value = weights[str(value.name)]
        model.graph.register_initializer(value)
    return model


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]

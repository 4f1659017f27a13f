"""A graph in memory -> an onnxruntime session that shares its weights instead of copying them."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgecompile.errors import DataError

if TYPE_CHECKING:
    import onnx
    import onnx_ir as ir
    import onnxruntime

    from edgecompile.graph import Array

BIG_BYTES = 1_000_000_000
"""Of a model with more weights than this, no second copy is kept for the sake of speed."""
PREPACKING_OFF = "session.disable_prepacking"
"""Prepacking keeps a second copy of all weights, in the order in which kernels read them."""
SHARED_FROM_BYTES = 1024
"""Smaller tensors travel inside the graph: onnxruntime folds and reads them while it loads.

So do those of less than a byte a number, of which onnxruntime makes no value from numpy.
"""


def session(
    model: "ir.Model",
    *,
    outputs: Sequence[str] = (),
    optimise: bool = True,
    threads: int = 0,
) -> "onnxruntime.InferenceSession":
    """Open a session on a graph; `outputs` are further tensors to return; 0 threads = all."""
    import onnxruntime as ort

    proto, weights = split(model)
    known = {output.name for output in proto.graph.output}
    for name in outputs:
        if name not in known:
            proto.graph.output.add(name=name)
    options = session_options(threads=threads, optimise=optimise)
    if sum(array.nbytes for array in weights.values()) > BIG_BYTES:
        options.add_session_config_entry(PREPACKING_OFF, "1")
    shared = [ort.OrtValue.ortvalue_from_numpy(array) for array in weights.values()]
    options.add_external_initializers(list(weights), shared)  # what the optimiser may look at
    for name, value in zip(weights, shared, strict=True):
        options.add_initializer(name, value)  # what the kernels read: without it, each is copied
    opened = ort.InferenceSession(proto.SerializeToString(), options, ["CPUExecutionProvider"])
    opened.shared = shared  # onnxruntime holds no reference to the arrays
    return opened


def answer(
    opened: "onnxruntime.InferenceSession", feeds: "Iterable[Mapping[str, Array]]"
) -> "list[list[Array]]":
    """Return all outputs for each feed; name the first that the model cannot take."""
    return [run(opened, None, feed, number) for number, feed in enumerate(feeds, 1)]


def run(
    opened: "onnxruntime.InferenceSession",
    names: Sequence[str] | None,
    feed: "Mapping[str, Array]",
    number: int,
) -> "list[Array]":
    """Run one sample, quietly; `number` is what an error calls it."""
    import onnxruntime as ort

    quiet = ort.RunOptions()
    quiet.log_severity_level = 4  # the error comes as an exception
    try:
        return list(opened.run(names, dict(feed), quiet))
    except Exception as error:  # onnxruntime's errors share no public base class
        what = (str(error).strip().splitlines() or ["?"])[0][:300]
        msg = f"the model cannot take sample {number}: {what}"
        raise DataError(msg) from error


def session_options(*, threads: int, optimise: bool = True) -> "onnxruntime.SessionOptions":
    """Return onnxruntime's default options, quiet, on `threads` threads (0 = all)."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    if not optimise:
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry(PREPACKING_OFF, "1")
    return options


def split(model: "ir.Model") -> tuple["onnx.ModelProto", dict[str, np.ndarray[Any, Any]]]:
    """Return the graph without its large weights, and those weights by name."""
    import onnx_ir as ir

    clone = model.clone()
    weights: dict[str, np.ndarray[Any, Any]] = {}
    offset = 0
    for name, value in clone.graph.initializers.items():
        tensor = value.const_value
        if tensor is None or tensor.nbytes < SHARED_FROM_BYTES or tensor.dtype.bitwidth < 8:
            continue
        weights[name] = tensor.numpy()
        value.const_value = ir.ExternalTensor(
            "shared",
            offset,
            tensor.nbytes,
            tensor.dtype,
            shape=ir.Shape(weights[name].shape),
            name=name,
        )
        offset += tensor.nbytes
    return ir.to_proto(clone), weights

"""What esp-ppq makes of an encoder, and how it simulates the chip: runs where esp-ppq is installed.

encoder.onnx says in its metadata for which chip it is and the range of each tensor: esp-ppq needs
no texts to calibrate. Goes into the bundle as it is, for smoke.py.
"""

import contextlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np

EMBED, ENCODER = "embed.onnx", "encoder.onnx"
RANGES, CHIP, TEXT_AXES = "edgecompile.ranges", "edgecompile.chip", "edgecompile.text_axes"
SCHEME = "w8a16"
"""Weights of 8 bits, all else of 16: with 8 bits everywhere MiniLM is lost (README.md)."""
MOVES = ("Reshape", "Transpose", "Squeeze", "Unsqueeze")
TABLES = ("Gelu", "Tanh", "Sigmoid", "Relu", "Elu", "Erf", "Exp", "Log", "HardSwish", "HardSigmoid")
"""Operators that the chip looks up in a table, and esp-ppq too, if it is told to."""
IDS, MASK = "input_ids", "attention_mask"
FEWEST_WORDS = 8
"""No vocabulary has fewer rows."""


class SimulationError(ValueError):
    """What is wrong with a feed or an encoder, in one line."""


def open_bundle(folder, threads=0):
    """Return a function from a feed to the outputs by name: the host's part, then the chip's."""
    import onnx
    import torch

    with quiet():
        from esp_ppq.executor import TorchExecutor

    torch.set_num_threads(threads or torch.get_num_threads())
    folder = Path(folder)
    stated = onnx.load(folder / ENCODER)
    outputs = [value.name for value in stated.graph.output]
    axes = json.loads(metadata_of(stated).get(TEXT_AXES, "{}"))
    embed = open_host(folder, stated)
    chip = TorchExecutor(quantize(folder / ENCODER)[0], device="cpu")

    def run(feed):
        length = max([0, *(a.shape[1] for a in feed.values() if a.ndim == 2)])
        with quiet():
            found = chip.forward(embed(feed))
        arrays = {name: value.numpy() for name, value in zip(outputs, found)}
        return {n: a.take(range(length), axes[n]) if n in axes else a for n, a in arrays.items()}

    return run


def open_host(folder, encoder):
    """Return a function from a feed to what the encoder reads: tables looked up, texts padded."""
    import onnxruntime
    import torch

    shapes = {value.name: shape_of(value) for value in encoder.graph.input}
    host, wanted = None, {}
    if (folder / EMBED).is_file():
        host = onnxruntime.InferenceSession(str(folder / EMBED), providers=["CPUExecutionProvider"])
        wanted = {value.name: value.shape for value in host.get_inputs()}

    def embed(feed):
        ids = {name: pad(name, feed, shape).astype(np.int32) for name, shape in wanted.items()}
        made = host.run(None, ids) if host is not None else []
        given = {v.name: a for v, a in zip(host.get_outputs() if made else (), made)}
        for name, shape in shapes.items():
            if name not in given:
                given[name] = pad(name, feed, shape).astype(np.float32)
        return [torch.from_numpy(given[name]) for name in shapes]

    return embed


def any_feed(folder, encoder):
    """Return a feed of full length that every model takes: what the chip's own test runs."""
    import onnx

    graphs = [encoder.graph]
    graphs += [onnx.load(folder / EMBED).graph] if (folder / EMBED).is_file() else []
    made = {value.name for value in graphs[-1].output}
    shapes = {v.name: shape_of(v) for g in graphs for v in g.input if v.name not in made}
    return {name: _any_array(name, shape) for name, shape in shapes.items()}


def _any_array(name, shape):
    steps = np.arange(np.prod(shape)).reshape(shape)
    if name == IDS:
        return steps % FEWEST_WORDS
    if name == MASK:
        return np.ones(shape)
    return np.sin(steps) if len(shape) > 2 else np.zeros(shape)


def quantize(path):
    """Return esp-ppq's rounded graph of an encoder, and its name for the chip."""
    import onnx
    import torch

    with quiet():
        from esp_ppq.api.espdl_interface import get_target_platform
        from esp_ppq.api.interface import quantize_onnx_model
        from esp_ppq.api.setting import QuantizationSettingFactory
        from esp_ppq.parser import onnx_parser

    onnx_parser.set = dict.fromkeys  # its own `set` gives the file another order each time
    model = onnx.load(path)
    about = metadata_of(model)
    chip = dict(part.split("=", 1) for part in about[CHIP].split())["target"]
    use_ranges(json.loads(about[RANGES]))
    setting = QuantizationSettingFactory.espdl_setting(num_of_bits=16)
    setting.quantize_activation_setting.calib_algorithm = OBSERVER
    setting.quantize_parameter_setting.calib_algorithm = "minmax"
    setting.lut_optimization_setting.target_ops = list(TABLES)
    platform = get_target_platform(chip, SCHEME)
    shapes = {value.name: shape_of(value) for value in model.graph.input}
    zeros = [torch.zeros(shape) for shape in shapes.values()]
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch, quiet():
        plain = Path(scratch) / ENCODER
        onnx.save(with_float_weights(model), plain)
        graph = quantize_onnx_model(
            onnx_import_file=str(plain), calib_dataloader=[zeros], calib_steps=2, input_shape=None,
            platform=platform, inputs=zeros, setting=setting, collate_fn=lambda batch: batch,
            device="cpu", verbose=0,
        )  # fmt: skip
    for operation in graph.operations.values():
        if operation.type in (*TABLES, "Clip", "Identity"):
            msg = f"'{operation.name}' ({operation.type}) would be a table that is not simulated"
            raise SimulationError(msg)
    return graph, platform


OBSERVER = "edgecompile"
"""The name under which esp-ppq finds the observer below."""


def use_ranges(ranges):
    """Let esp-ppq take each tensor's range from here, instead of watching samples."""
    import torch
    from esp_ppq.core import QuantizationStates
    from esp_ppq.quantization.observer import OBSERVER_TABLE
    from esp_ppq.quantization.observer.base import BaseTensorObserver
    from esp_ppq.quantization.observer.range import minmax_to_scale_offset

    def range_of(variable, seen=()):
        """Return a tensor's range, or that of one that holds the same numbers."""
        if variable.name in ranges:
            return ranges[variable.name]
        made = variable.source_op
        near = [op.outputs[0] for op in variable.dest_ops if op.type in MOVES]
        near += [made.inputs[0]] if made is not None and made.type in MOVES else []
        found = (range_of(v, (*seen, v)) for v in near if v not in seen)
        return next((pair for pair in found if pair), None)

    class Given(BaseTensorObserver):
        def observe(self, value):
            """Learn nothing of a sample."""

        def render_quantization_config(self):
            """Set the scale, a power of two."""
            config = self._quant_cfg
            if config.state != QuantizationStates.INITIAL:
                return
            pair = range_of(self._watch_on, (self._watch_on,))
            if pair is None:
                msg = f"tensor '{self._watch_on.name}' has no range"
                raise SimulationError(msg)
            scale, offset = minmax_to_scale_offset(*pair, config)
            config.scale = torch.tensor(scale, dtype=torch.float32)
            config.offset = torch.tensor(offset, dtype=torch.float32)
            config.state = QuantizationStates.ACTIVATED

    OBSERVER_TABLE[OBSERVER] = Given


def with_float_weights(model):
    """Return a model whose rounded weights are float: esp-ppq finds the same integers again."""
    from onnx import numpy_helper

    graph = model.graph
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in [n for n in graph.node if n.op_type == "DequantizeLinear"]:
        q, scale = (numpy_helper.to_array(stored[name]) for name in node.input[:2])
        weight = (q * scale).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(weight, node.output[0]))
        graph.node.remove(node)
    read = {name for node in graph.node for name in node.input}
    for tensor in [t for t in graph.initializer if t.name not in read]:
        graph.initializer.remove(tensor)
    return model


def metadata_of(model):
    """Return what a model says of itself."""
    return {entry.key: entry.value for entry in model.metadata_props}


def shape_of(value):
    """Return the fixed shape of an input."""
    return [axis.dim_value for axis in value.type.tensor_type.shape.dim]


def pad(name, feed, shape):
    """Return an input in the encoder's shape, zeros behind: the mask says which are real."""
    array = feed[name]
    if array.ndim != len(shape) or any(n > s for n, s in zip(array.shape, shape)):
        msg = f"input '{name}' is {list(array.shape)}: the artifact takes {list(shape)}"
        raise SimulationError(msg)
    if list(array.shape) != list(shape) and MASK not in feed:
        msg = f"input '{name}' cannot be padded to {list(shape)}: the model has no {MASK}"
        raise SimulationError(msg)
    return np.pad(array, [(0, s - n) for n, s in zip(array.shape, shape)])


@contextlib.contextmanager
def quiet():
    """Send what esp-ppq prints to the log: answers go to the standard output."""
    with contextlib.redirect_stdout(sys.stderr):
        yield

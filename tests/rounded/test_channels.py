"""Factors and means a channel as convolutions: LiteRT's integers are numpy's."""

from importlib.util import find_spec

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.graph import LITERT, Array, add_int64, present
from edgecompile.integer_format import INT16, IntegerFormat, format_for, set_format
from edgecompile.placement import ENCODER, place
from edgecompile.plan import Plan
from edgecompile.rounded.channels import write_channels, write_mean
from edgecompile.rounded.rounder import CONVOLUTION, Rounder
from edgecompile.tflite.flatbuffer import File
from edgecompile.tflite.write_graph import ONLY, Sizes, write_graph

if find_spec("ai_edge_litert") is None:
    pytest.skip("ai-edge-litert is not installed", allow_module_level=True)

TOKENS, CHANNELS = 5, 7
STEP = IntegerFormat(INT16, 8 / 32767)


def node(op_type: str, inputs: list[ir.Value], domain: str = "", name: str = "y") -> ir.Node:
    """Return a node of the encoder."""
    made = place(ir.node(op_type, inputs, domain=domain, name=name), ENCODER)
    made.outputs[0].name, made.outputs[0].dtype = name, ir.DataType.FLOAT
    made.outputs[0].shape = ir.Shape([1, TOKENS, CHANNELS])
    return made


def start() -> tuple[ir.Graph, ir.Value, ir.Value]:
    """Return a graph that rounds its float input x to 16 bits, the input, and what is rounded."""
    x = ir.val("x", ir.DataType.FLOAT, [1, TOKENS, CHANNELS])
    rounding = node("Round", [x], LITERT, "q")
    graph = ir.Graph([x], [], nodes=[rounding], opset_imports={"": 23, LITERT: 1}, name="g")
    return graph, x, set_format(rounding.outputs[0], STEP)


def run(graph: ir.Graph, y: ir.Value, x: Array) -> Array:
    """Return what LiteRT's reference kernels make of x, in integers."""
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    graph.outputs.append(y)
    file = File(1 << 20)
    write_graph(file, ir.Model(graph, ir_version=10), Sizes({}, ONLY))
    resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
    interpreter = Interpreter(
        model_content=bytes(file.data("test")), experimental_op_resolver_type=resolver
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    interpreter.invoke()
    found: Array = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return found


def rounder(graph: ir.Graph, low: float, high: float) -> Rounder:
    """Return a rounder to which y lies between two numbers."""
    return Rounder(graph, Plan(tensors={"y": (low, high)}), "fast", CONVOLUTION)


def rounded(x: Array) -> Array:
    """Return x in the input's integers."""
    return np.rint(x / np.float32(STEP.scale)).astype(np.int64)


def step(low: float, high: float) -> float:
    """Return the step of a 16-bit range."""
    return format_for(low, high, INT16).scale


def constants_of(graph: ir.Graph) -> list[Array]:
    """Return weights, scales and biases of the operator that was written."""
    inputs = graph[-1].inputs[1:]
    return [present(present(value).const_value).numpy().astype(np.float64) for value in inputs]


def rescale(sums: Array, factor: Array) -> Array:
    """Return sums of 64 bits times a factor, as TFLite does: by a multiplier of 15 bits.

    MultiplyByQuantizedMultiplier(int64_t, ...) of tensorflow/lite/kernels/internal/common.cc.
    """
    fraction, exponent = np.frexp(factor.astype(np.float32).astype(np.float64))
    whole = np.rint(fraction * 2**31).astype(np.int64)
    reduced = np.where(whole < 0x7FFF0000, (whole + (1 << 15)) >> 16, 0x7FFF)
    shift = 15 - exponent.astype(np.int64)
    return (sums.astype(np.int64) * reduced + (1 << (shift - 1))) >> shift


@pytest.fixture
def x(random: np.random.Generator) -> Array:
    """Return numbers of a residual stream, within the input's range."""
    return random.uniform(-8, 8, (1, TOKENS, CHANNELS)).astype(np.float32)


def test_factors_and_offsets(x: Array) -> None:
    """Of any sign and size, none at all too; an Add that follows is the same operator."""
    factors = np.array([1.0, -0.5, 0.0, 0.003, 2.5, -3.0, 1e-5], np.float32)
    offsets = np.array([0.0, 1.0, -2.0, 0.1, -0.2, 3.0, 0.5], np.float32)
    graph, _, q = start()
    constants = [ir.val(n, const_value=ir.tensor(a)) for n, a in (("g", factors), ("b", offsets))]
    for value in constants:
        graph.register_initializer(value)
    scaled = node("Mul", [q, constants[0]], name="scaled")
    added = node("Add", [scaled.outputs[0], constants[1]])
    graph.extend([scaled, added])
    graph.outputs.append(added.outputs[0])
    write_channels(rounder(graph, -30, 30), scaled, q, factors)
    y = graph.outputs.pop()
    assert [n.op_type for n in graph] == ["Round", "RoundedChannels"]
    (w, scale, b), found = constants_of(graph), run(graph, y, x)
    wanted = rescale(rounded(x) * w + b, STEP.scale * scale / step(-30, 30))
    np.testing.assert_array_equal(found, wanted)
    exact = (rounded(x) * STEP.scale * factors + offsets) / step(-30, 30)
    assert np.abs(found - exact).max() < 1


def test_means(x: Array) -> None:
    """A mean is a Linear of one output."""
    graph, _, q = start()
    mean = node("ReduceMean", [q, add_int64(graph, -1)])
    graph.append(mean)
    graph.outputs.append(mean.outputs[0])
    present(mean.outputs[0]).shape = ir.Shape([1, TOKENS, 1])
    write_mean(rounder(graph, -4, 4), mean, q, CHANNELS)
    y = graph.outputs.pop()
    assert [n.op_type for n in graph] == ["Round", "RoundedLinear"]
    (w, scale, b), found = constants_of(graph), run(graph, y, x)
    sums = (rounded(x) * w).sum(-1, keepdims=True) + b
    wanted = rescale(sums, STEP.scale * scale / step(-4, 4))
    np.testing.assert_array_equal(found, wanted)
    exact = (rounded(x) * STEP.scale).mean(-1, keepdims=True) / step(-4, 4)
    assert np.abs(found - exact).max() < 1

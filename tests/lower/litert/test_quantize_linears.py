"""Linears of a .tflite file: bit for bit what numpy's integers give with the plan's scales."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx_ir as ir
import pytest

from edgecompile.emit import litert as engine
from edgecompile.inspect_file import inspect_file
from edgecompile.plan import FLOAT, Activation, Output, Plan, affine
from edgecompile.rounding import quantize_weight
from edgecompile.target import Target, load

Array = npt.NDArray[Any]
Parse = Callable[..., ir.Model]
Rewrite = Callable[..., ir.Model]

pytest.importorskip("ai_edge_litert")

BOARD = load("raspberry-pi-5")
WIDE, OUT, TOKENS = 48, 20, 16
TEXT = f"""(float[1,{TOKENS},{WIDE}] x) => (float[1,{TOKENS},{OUT}] y) {{
    m = MatMul(x, w) y = Add(m, b) }}"""


@pytest.fixture
def write(rewrite: Rewrite, tmp_path: Path) -> Callable[..., Path]:
    """Return a function that lowers a graph and writes it."""

    def apply(model: ir.Model, plan: Plan, board: Target = BOARD) -> Path:
        lowered = rewrite("lower/litert", model, plan=plan, target=board)
        name, *_ = engine.write(lowered, tmp_path, {})
        return tmp_path / name

    return apply


@dataclasses.dataclass(frozen=True)
class Case:
    """A Linear, what comes in, and its plan."""

    x: Array
    w: Array
    b: Array
    plan: Plan


def case(seed: int, **changes: Any) -> Case:
    """Return a Linear whose channels have very different sizes, in and out."""
    random = np.random.default_rng(seed)
    x = random.normal(1, 2, (1, TOKENS, WIDE)).astype(np.float32)
    x *= random.uniform(0.1, 8, WIDE).astype(np.float32)
    w = random.normal(size=(WIDE, OUT)).astype(np.float32) * np.geomspace(0.01, 2, OUT)
    w, b = w.astype(np.float32), random.normal(size=OUT).astype(np.float32)
    s = random.uniform(0.2, 5, WIDE).astype(np.float32)
    y = x @ w + b
    t = np.abs(y).max(axis=(0, 1))
    t = (t / np.exp(np.log(t).mean())).astype(np.float32)
    low, high = float((x / s).min()), float((x / s).max())
    seen = Activation(low, high, s, np.zeros(WIDE, np.float32), 0.5, **changes)
    gives = Output(float((y / t).min()), float((y / t).max()), t)
    return Case(x, w, b, Plan({"x": seen}, outputs={"y": gives}))


def integers(given: Case) -> Array:
    """Compute the int8 Linear with numpy: int8 x int8 in int32, one float32 factor, rounded."""
    seen, gives = given.plan.activations["x"], given.plan.outputs["y"]
    (scale, zero), (y_scale, y_zero) = affine(seen.low, seen.high), affine(gives.low, gives.high)
    scale, y_scale = np.float32(scale), np.float32(y_scale)
    factors = (1 / seen.smoothing).astype(np.float32)
    q = np.rint(given.x * factors / scale).astype(np.int64) + zero - 128
    q = np.clip(q, -128, 127)
    equalised = (given.w * seen.smoothing[:, None]).astype(np.float32)
    wq, w_scale = quantize_weight(equalised, "int8")
    w_scale = (w_scale / gives.smoothing).astype(np.float32)
    bias = np.rint(given.b / gives.smoothing / (w_scale.astype(np.float64) * float(scale)))
    total = (q - (zero - 128)) @ wq.astype(np.int64) + bias.astype(np.int64)
    factor = (scale * w_scale / y_scale).astype(np.float32)
    rounded = np.rint(total.astype(np.float32) * factor) + y_zero - 128
    rounded = np.clip(rounded, -128, 127)
    y = ((rounded - (y_zero - 128)) * y_scale).astype(np.float32)
    return np.asarray(y * gives.smoothing, np.float32)


@pytest.mark.parametrize("seed", range(8))
def test_int8_is_numpys_integer_arithmetic(
    seed: int, graph: Parse, write: Callable[..., Path]
) -> None:
    """Same scales, same integers, same float at the end: not one bit is another."""
    given = case(seed)
    file = write(graph(TEXT, w=given.w, b=given.b), given.plan)
    (found,) = engine.runner(file, 1)({"x": given.x})
    np.testing.assert_array_equal(found, integers(given))


def test_a_number_that_follows_goes_into_the_scales(
    graph: Parse, write: Callable[..., Path]
) -> None:
    """Attention's: no MUL is left where the plan has no factors, and the integers are the same."""
    given = case(2)
    text = TEXT.replace("y = Add(m, b)", "t = Add(m, b) y = Mul(t, quarter)")
    gives = given.plan.outputs["y"]
    even = Output(gives.low * 9, gives.high * 9, np.ones_like(gives.smoothing))
    plan = dataclasses.replace(given.plan, outputs={"t": even})
    file = write(graph(text, w=given.w, b=given.b, quarter=np.float32(0.25)), plan)
    assert inspect_file(file)["operators"] == {
        "DEQUANTIZE": 1, "FULLY_CONNECTED": 1, "MUL": 1, "QUANTIZE": 1,
    }  # fmt: skip
    (found,) = engine.runner(file, 1)({"x": given.x})
    whole = dataclasses.replace(given, plan=dataclasses.replace(plan, outputs={"y": even}))
    np.testing.assert_array_equal(found, integers(whole) / 4)


def test_the_hybrid_form_rounds_activations_as_they_come(
    graph: Parse, write: Callable[..., Path]
) -> None:
    """A target may ask for it of all Linears; its tables are those of the dynamic rung."""
    given = case(4)
    board = dataclasses.replace(BOARD, forms=dataclasses.replace(BOARD.forms, linear="hybrid"))
    hybrid = write(graph(TEXT, w=given.w, b=given.b), given.plan, board).read_bytes()
    raised = dataclasses.replace(given.plan.activations["x"], dynamic="tried")
    plan = dataclasses.replace(given.plan, activations={"x": raised})
    assert hybrid == write(graph(TEXT, w=given.w, b=given.b), plan).read_bytes()


def test_equal_output_channels_keep_small_ones_exact(
    graph: Parse, write: Callable[..., Path]
) -> None:
    """One scale for all channels ruins the small ones; the plan's factors do not."""
    given = case(3)
    gives = given.plan.outputs["y"]
    truth = given.x @ given.w + given.b
    plain = Output(float(truth.min()), float(truth.max()), np.ones_like(gives.smoothing))
    flat = dataclasses.replace(given.plan, outputs={"y": plain})
    losses = []
    for plan in (given.plan, flat):
        (found,) = engine.runner(write(graph(TEXT, w=given.w, b=given.b), plan), 1)({"x": given.x})
        error = np.square(found - truth).mean((0, 1)) / truth.var((0, 1))
        losses.append(error.max())
    assert losses[0] < 0.02
    assert losses[1] > 20 * losses[0]


@pytest.mark.parametrize(("changes", "most"), [({"dynamic": "tried"}, 0.05), ({}, 1e-6)])
def test_the_other_rungs_give_float(
    changes: dict[str, str], most: float, graph: Parse, write: Callable[..., Path]
) -> None:
    """Dynamic rounds x as it comes; a Linear that is in no plan is float."""
    given = case(5, **changes)
    file = write(graph(TEXT, w=given.w, b=given.b), given.plan if changes else FLOAT)
    (found,) = engine.runner(file, 1)({"x": given.x})
    truth = given.x @ given.w + given.b
    assert np.abs(found - truth).max() < most * np.abs(truth).max()


def test_versions_are_those_that_runtimes_know(graph: Parse, write: Callable[..., Path]) -> None:
    """FULLY_CONNECTED 5 is int8 by channel, 12 hybrid by channel.

    Runtimes that know only older hybrid ones take no notice of the channels' scales.
    """
    from edgecompile.tflite.flatbuffer import schema

    wanted = {
        "static": {"FULLY_CONNECTED": 5, "QUANTIZE": 1, "DEQUANTIZE": 2, "MUL": 1},
        "dynamic": {"FULLY_CONNECTED": 12, "MUL": 1},
        "float": {"FULLY_CONNECTED": 1},
    }
    names = {code: name for name, code in vars(schema().BuiltinOperator).items() if name.isupper()}
    for kind, versions in wanted.items():
        given = case(1, dynamic="tried" if kind == "dynamic" else "")
        plan = FLOAT if kind == "float" else given.plan
        raw = write(graph(TEXT, w=given.w, b=given.b), plan).read_bytes()
        codes = schema().ModelT.InitFromPackedBuf(raw, 0).operatorCodes
        assert {names[code.builtinCode]: code.version for code in codes} == versions


def test_a_plan_without_the_outputs_range_is_our_bug(
    graph: Parse, write: Callable[..., Path]
) -> None:
    """It is not guessed."""
    given = case(1)
    with pytest.raises(ValueError, match="the plan has no range of what"):
        write(graph(TEXT, w=given.w, b=given.b), dataclasses.replace(given.plan, outputs={}))

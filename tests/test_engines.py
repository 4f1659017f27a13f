"""Engines: one module each, all with the same functions."""

import dataclasses
import inspect
import runpy
from pathlib import Path

import pytest

from edgecompile import emit
from edgecompile.emit.bundle import runtime_file
from edgecompile.engines import REFERENCE, check_installed, check_scheme, engine, fit_plan
from edgecompile.errors import MissingRuntimeError, UnsupportedError
from edgecompile.plan import FLOAT, Plan
from edgecompile.plugins import engine_names
from edgecompile.target import load

NAMES = engine_names()


@pytest.mark.parametrize("name", NAMES)
def test_every_engine_has_the_same_functions(name: str) -> None:
    """Whoever uses an engine need not know which."""
    module, reference = engine(name), engine(REFERENCE)
    for function in ("write", "runner", "runtime_version"):
        theirs, ours = (inspect.signature(getattr(m, function)) for m in (reference, module))
        assert list(ours.parameters) == list(theirs.parameters)
    assert module.how != reference.how or name == REFERENCE


@pytest.mark.parametrize("name", NAMES)
def test_every_engine_has_its_lowering_and_runs_in_smoke(name: str) -> None:
    """A folder of passes with what forms it knows, and a program that opens its artifacts."""
    folder = Path(emit.__path__[0]).parent / "lower" / name
    assert (folder / "__init__.py").is_file()
    runtime = runpy.run_path(str(runtime_file(name)))
    assert runtime["PACKAGES"][-1] == engine(name).package
    assert callable(runtime["Runtime"].open)


def test_a_runtime_that_is_too_old_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Version, what is needed, what next; the oldest that suffices is enough."""
    board = load("x86-64")
    monkeypatch.setattr("edgecompile.emit.onnxruntime.runtime_version", lambda: "1.9.1")
    with pytest.raises(MissingRuntimeError) as caught:
        check_installed(board)
    assert str(caught.value) == (
        "onnxruntime 1.9.1 is too old for x86-64: pip install 'onnxruntime>=1.24'"
    )
    monkeypatch.setattr("edgecompile.emit.onnxruntime.runtime_version", lambda: "1.24.0")
    check_installed(board)


def test_a_scheme_that_an_engine_or_an_old_runtime_lacks_is_one_line() -> None:
    """Target, scheme, what next; where it runs, nothing is said."""
    with pytest.raises(UnsupportedError) as caught:
        check_scheme(load("x86-64:openvino"), "int4-weights")
    assert str(caught.value) == (
        "x86-64:openvino: [quantize] scheme 'int4-weights' is not made for openvino;"
        " ask for 'int8', or choose x86-64:onnxruntime"
    )
    with pytest.raises(UnsupportedError) as caught:
        check_scheme(load("raspberry-pi-5:onnxruntime"), "int8-weights")
    assert str(caught.value) == (
        "raspberry-pi-5:onnxruntime: [quantize] scheme 'int8-weights' needs onnxruntime 1.23, its"
        " file allows >=1.17; raise `runtime` there, or choose another scheme"
    )
    check_scheme(load("raspberry-pi-5:onnxruntime"), "int4-weights")
    check_scheme(load("x86-64"), "int8-weights")
    check_scheme(load("x86-64:openvino"), "int8")


def test_tables_are_int8_where_int4_cannot_be_looked_up() -> None:
    """By the oldest runtime that a target allows; nothing else of the plan changes."""
    plan = Plan(kept_float={"head": "why"}, embeddings="int4", weights="int4")
    assert fit_plan(plan, load("x86-64")) is plan
    assert fit_plan(plan, load("raspberry-pi-5:onnxruntime")) == dataclasses.replace(
        plan, embeddings="int8"
    )
    raised = dataclasses.replace(load("raspberry-pi-5:onnxruntime"), runtime=">=1.20")
    assert fit_plan(plan, raised) is plan
    assert fit_plan(plan, load("x86-64:openvino")).embeddings == "int8"
    assert fit_plan(FLOAT, load("x86-64:openvino")) is FLOAT

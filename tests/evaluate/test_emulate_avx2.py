"""The emulated AVX2: real qemu runs real kernels where it is installed; how it fails, anywhere."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.emit import onnxruntime
from edgecompile.errors import EmulationError
from edgecompile.evaluate.emulate_avx2 import PROGRAMS, emulate, find_qemu, how
from edgecompile.rounding import quantize_weight

Parse = Callable[..., ir.Model]
QEMU = find_qemu() or ""
needs_qemu = pytest.mark.skipif(not QEMU, reason="qemu-x86_64 is not installed")
KERNEL = """(uint8[b,96] x) => (float[b,48] y, uint8[b,96] again) {
    y = com.microsoft.MatMulIntegerToFloat(x, q, x_scale, scale, zero) again = Identity(x) }"""


def kernel(graph: Parse, folder: Path, weight: str) -> tuple[Path, np.ndarray]:
    """Write an int8 Linear whose sums of pairs are the largest; return it and its weights."""
    q, scale = quantize_weight(np.ones((96, 48), np.float32), weight)
    numbers = {"q": q, "scale": scale, "x_scale": np.float32(1), "zero": np.uint8(0)}
    (name,) = onnxruntime.write(graph(KERNEL, opset=20, **numbers), folder, {})
    return folder / name, q.astype(np.float64) * scale


def script(path: Path, text: str) -> str:
    """Write a program that stands for qemu."""
    path.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
    path.chmod(0o755)
    return str(path)


FULL = [{"x": np.full((rows, 96), 255, np.uint8)} for rows in (1, 7)]


@needs_qemu
@pytest.mark.slow
@pytest.mark.parametrize(("weight", "saturates"), [("int8", True), ("int8-pairs", False)])
def test_the_kernels_are_those_of_avx2(
    graph: Parse, tmp_path: Path, weight: str, *, saturates: bool
) -> None:
    """Plain int8 saturates there whatever this CPU is; pairs do not; outputs keep their order."""
    artifact, w = kernel(graph, tmp_path, weight)
    answers = emulate(QEMU, artifact, "onnxruntime", FULL)
    assert [[a.shape for a in row] for row in answers] == [[(n, 48), (n, 96)] for n in (1, 7)]
    for feed, (y, again) in zip(FULL, answers, strict=True):
        exact = feed["x"].astype(np.float64) @ w
        assert np.allclose(y, exact, rtol=1e-6) != saturates
        np.testing.assert_array_equal(again, feed["x"])
        assert np.all(y <= exact * (1 + 1e-6))


@pytest.mark.skipif(find_spec("openvino") is None, reason="openvino is not installed")
@pytest.mark.parametrize("form", ["matmul", "convolution"])
@pytest.mark.parametrize(("weight", "saturates"), [("int8", True), ("int8-pairs", False)])
def test_openvino_is_told_to_do_without(
    graph: Parse, tmp_path: Path, form: str, weight: str, *, saturates: bool
) -> None:
    """It needs no emulator: whatever this CPU is, its AVX2 kernels run."""
    q, scale = quantize_weight(np.ones((96, 48), np.float32), weight)
    swap = "Transpose<perm = [0, 2, 1]>"
    stored, axis, op = {
        "matmul": (q, 1, "y = MatMul(d, w)"),
        "convolution": (q.T[:, :, None].copy(), 0, f"t = {swap}(d) c = Conv(t, w) y = {swap}(c)"),
    }[form]
    text = f"""(float[b,s,96] x) => (float[b,s,48] y) {{ u = QuantizeLinear(x, step, zero)
        d = DequantizeLinear(u, step, zero) w = DequantizeLinear<axis = {axis}>(q, scale) {op} }}"""
    numbers = {"q": stored, "scale": scale, "step": np.float32(1), "zero": np.uint8(0)}
    (name,) = onnxruntime.write(graph(text, opset=23, **numbers), tmp_path, {})
    feed = {"x": np.full((1, 7, 96), 255, np.float32)}
    ((y,),) = emulate(None, tmp_path / name, "openvino", [feed])
    exact = feed["x"].astype(np.float64) @ (q.astype(np.float64) * scale)
    assert np.allclose(y, exact, rtol=1e-6) != saturates
    assert how(None, "openvino").startswith("ONEDNN_MAX_CPU_ISA=AVX2: openvino's int8 kernels")


def test_others_need_qemu(tmp_path: Path) -> None:
    """An engine that cannot be told takes the kernels that it finds."""
    for ask in (
        lambda: how(None, "onnxruntime"),
        lambda: emulate(None, tmp_path, "onnxruntime", FULL),
    ):
        with pytest.raises(EmulationError, match="there is no qemu-x86_64"):
            ask()


@needs_qemu
def test_a_model_that_does_not_load_is_told_in_one_line(tmp_path: Path) -> None:
    """The child's last line, not qemu's warnings before it."""
    with pytest.raises(EmulationError) as error:
        emulate(QEMU, tmp_path / "missing.onnx", "onnxruntime", FULL)
    assert "missing.onnx" in str(error.value)
    assert "warning" not in str(error.value)
    assert "\n" not in str(error.value)


@needs_qemu
def test_the_version_is_qemus_own() -> None:
    """A number is kept with the emulator that gave it."""
    name, version, *rest = how(QEMU, "onnxruntime").split()
    assert name == "qemu-x86_64"
    assert version[0].isdigit()
    assert " ".join(rest) == "-cpu Skylake-Client: AVX2, no VNNI"


def test_either_of_debians_names_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """qemu-user and qemu-user-static name it otherwise; without either there is none."""
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_qemu() is None
    for name in reversed(PROGRAMS):
        path = script(tmp_path / name, "exit 0")
        assert find_qemu() == path


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("echo 'qemu: warning: no hle' >&2; exit 3", "fake failed: exit status 3"),
        ("echo first >&2; echo last line >&2; exit 1", "fake failed: last line"),
        ("kill -SEGV $$", "fake failed: exit status -11"),
        ("exit 0", "fake ended without an answer"),
        ("exec sleep 60", "fake took longer than 0.5 s"),
    ],
)
def test_failures_are_one_line(tmp_path: Path, text: str, said: str) -> None:
    """However it ends, the build learns why in one line."""
    with pytest.raises(EmulationError) as error:
        emulate(script(tmp_path / "fake", text), tmp_path / "m.onnx", "onnxruntime", FULL, 0.5)
    assert str(error.value) == said


def test_an_emulator_that_cannot_be_run_is_told(tmp_path: Path) -> None:
    """Such as one removed since."""
    with pytest.raises(EmulationError, match="cannot be run: No such file or directory"):
        emulate(str(tmp_path / "gone"), tmp_path / "m.onnx", "onnxruntime", FULL)

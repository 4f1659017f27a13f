"""Nobody is told that a model was built or run: onnxruntime's 1.32 would."""

import os
import subprocess
import sys
from pathlib import Path

import onnx_ir as ir
import pytest

from edgecompile.emit.bundle import runtime_file

USES = {
    "edgecompile": "import edgecompile, onnxruntime; onnxruntime.InferenceSession(sys.argv[1])",
    "smoke.py": "import runpy; runpy.run_path(sys.argv[2])['Runtime']().open(sys.argv[1], 1)",
    "nobody": "import onnxruntime; onnxruntime.InferenceSession(sys.argv[1])",
}


@pytest.mark.parametrize("who", USES)
def test_onnxruntime_tells_nobody(who: str, tmp_path: Path) -> None:
    """It leaves neither its session's number nor its database of events; by itself, it does."""
    x = ir.val("x", ir.DataType.FLOAT, [1])
    node = ir.node("Relu", [x])
    node.outputs[0].name = "y"
    graph = ir.Graph([x], node.outputs, nodes=[node], opset_imports={"": 18}, name="g")
    ir.save(ir.Model(graph, ir_version=9), tmp_path / "model.onnx")
    home = tmp_path / "home"
    home.mkdir()
    given = {k: v for k, v in os.environ.items() if k != "ORT_DISABLE_TELEMETRY"}
    given |= {"HOME": str(home), "TMPDIR": str(home), "XDG_CACHE_HOME": str(home)}
    code = ["-c", f"import sys; {USES[who]}", tmp_path / "model.onnx", runtime_file("onnxruntime")]
    subprocess.run([sys.executable, *code], check=True, env=given)
    left = sorted(path.name for path in home.rglob("*"))
    if who == "nobody":
        if not left:
            pytest.skip("this onnxruntime keeps nothing of its own")
        return
    assert left == []

"""Which of several equivalent graph forms onnxruntime runs fastest here: what targets/*.toml cite.

    python benchmarks/forms.py

One layer's attention (12 heads of 32) and Gelu (1,536 wide) over 128 tokens, one thread, in turn.
"""

import statistics

import numpy as np
import onnx_ir as ir

from edgecompile.graph import MICROSOFT, add_int64
from edgecompile.host import read_host
from edgecompile.profile.measure_latency import time_in_turn
from edgecompile.session import session

TOKENS, HEADS, WIDTH, WIDE, REPEATS = 128, 12, 384, 1536, 200


def main() -> None:
    """Measure and print each group."""
    host = read_host()
    print(f"machine: {host.cpu}, {host.isa}; median of {REPEATS}, measured, 1 thread")
    random = np.random.default_rng(0)
    packed = random.normal(size=(1, TOKENS, 3 * WIDTH)).astype(np.float32)
    bias = np.zeros((1, 1, TOKENS, TOKENS), np.float32)
    feed = {"x": packed, "bias": bias, "row": bias[:, :, :1]}
    group("attention", {"operator": operator(), "packed": packed_heads()}, feed)
    x = random.normal(size=(1, TOKENS, WIDE)).astype(np.float32)
    gelus = {"erf": gelu("Gelu"), "tanh": gelu("FastGelu")}
    group("gelu", gelus, {"x": x})
    runs = {name: session(model).run(None, {"x": x})[0] for name, model in gelus.items()}
    print(f"  largest difference of erf and tanh: {np.abs(runs['erf'] - runs['tanh']).max():.1e}")


def group(name: str, models: dict[str, ir.Model], feed: dict[str, np.ndarray]) -> None:
    """Time the forms of one block in turn."""
    print(name)
    runners = {}
    for form, model in models.items():
        opened = session(model, threads=1)
        wanted = {i.name for i in opened.get_inputs()}
        runners[form] = lambda f, o=opened, w=wanted: o.run(None, {k: f[k] for k in w})
    for form, times in time_in_turn(runners, feed, REPEATS).items():
        print(f"  {form:10} {statistics.median(times) * 1e3:7.0f} us")


def graph(**shapes: tuple[int | str, ...]) -> tuple[ir.Graph, list[ir.Value]]:
    """Return an empty graph with float inputs."""
    inputs = [ir.val(name, ir.DataType.FLOAT, shape) for name, shape in shapes.items()]
    opsets = {"": 23, MICROSOFT: 1}
    return ir.Graph(inputs, [], nodes=[], opset_imports=opsets, name="form"), inputs


def close(body: ir.Graph, tape: ir.tape.Tape, y: ir.Value) -> ir.Model:
    """Make a model of what a tape holds."""
    body.extend(tape.nodes)
    y.name, y.type = "y", ir.TensorType(ir.DataType.FLOAT)
    body.outputs.append(y)
    return ir.Model(body, ir_version=11)


def operator() -> ir.Model:
    """Split the packed projection, then the standard Attention."""
    body, (x, bias) = graph(x=(1, "S", 3 * WIDTH), bias=(1, 1, "S", "S"))
    tape = ir.tape.Tape()
    parts = tape.op_multi_out("Split", [x], {"axis": 2, "num_outputs": 3}, num_outputs=3)
    heads = {"q_num_heads": HEADS, "kv_num_heads": HEADS}
    return close(body, tape, tape.op("Attention", [*parts, bias], heads))


def packed_heads() -> ir.Model:
    """One Reshape and Transpose for all heads, then batched MatMuls and Softmax."""
    body, (x, row) = graph(x=(1, "S", 3 * WIDTH), row=(1, 1, 1, "S"))
    tape = ir.tape.Tape()
    t = tape.op("Reshape", [x, add_int64(body, 0, 0, 3 * HEADS, -1)])
    t = tape.op("Transpose", [t], {"perm": [0, 2, 1, 3]})
    q, k, v = tape.op_multi_out("Split", [t], {"axis": 1, "num_outputs": 3}, num_outputs=3)
    attributes = {"transB": 1, "alpha": (WIDTH / HEADS) ** -0.5}
    scores = tape.op("FusedMatMul", [q, k], attributes, domain=MICROSOFT)
    p = tape.op("Softmax", [tape.op("Add", [scores, row])], {"axis": -1})
    y = tape.op("Transpose", [tape.op("MatMul", [p, v])], {"perm": [0, 2, 1, 3]})
    return close(body, tape, tape.op("Reshape", [y, add_int64(body, 0, 0, -1)]))


def gelu(op_type: str) -> ir.Model:
    """One of onnxruntime's Gelu operators."""
    body, (x,) = graph(x=(1, "S", WIDE))
    tape = ir.tape.Tape()
    return close(body, tape, tape.op(op_type, [x], domain=MICROSOFT))


if __name__ == "__main__":
    main()

"""Write Gelu in the operators that exporters write: rknn-toolkit2 knows them as its own exGelu.

    Gelu(x)             ->   x (Erf(x / sqrt(2)) + 1) / 2
    Gelu(x), by tanh    ->   x (Tanh(sqrt(2 / pi) (x + 0.044715 x^3)) + 1) / 2

Opset 19, the newest that it reads, has no Gelu.
"""

import numpy as np
import onnx_ir as ir

from edgecompile.facts import no_standard_gelu, tokens_are_flat
from edgecompile.graph import add_initializer, present, substitute, sweep
from edgecompile.passes import rewrite

ROOT_2, ROOT_2_PI, CUBE = 2**0.5, (2 / np.pi) ** 0.5, 0.044715


@rewrite(needs=[tokens_are_flat], gives=[no_standard_gelu])
def expand_gelu(model: ir.Model) -> ir.Model:
    """Gelu -> Div, Erf, Add, Mul, Mul; by tanh, as it was made."""
    model = model.clone()
    for node in [n for n in model.graph if n.op_type == "Gelu" and not n.domain]:
        wanted = node.attributes.get("approximate")
        expand = _tanh if wanted is not None and wanted.as_string() == "tanh" else _erf
        tape, x, y = ir.tape.Tape(), present(node.inputs[0]), node.outputs[0]
        expand(model.graph, tape, x, str(node.name))
        for made in tape.nodes:
            value = made.outputs[0]
            value.name, value.shape, value.type = made.name, y.shape, y.type
        substitute(model.graph, [node], tape.nodes)
    return sweep(model)


def _erf(graph: ir.Graph, tape: ir.tape.Tape, x: ir.Value, name: str) -> None:
    inner = tape.op("Div", [x, _number(graph, ROOT_2)], name=f"{name}.divided")
    _finish(graph, tape, x, tape.op("Erf", [inner], name=f"{name}.erf"), name)


def _tanh(graph: ir.Graph, tape: ir.tape.Tape, x: ir.Value, name: str) -> None:
    square = tape.op("Mul", [x, x], name=f"{name}.square")
    cube = tape.op("Mul", [square, x], name=f"{name}.cube")
    little = tape.op("Mul", [cube, _number(graph, CUBE)], name=f"{name}.little")
    both = tape.op("Add", [x, little], name=f"{name}.sum")
    inner = tape.op("Mul", [both, _number(graph, ROOT_2_PI)], name=f"{name}.inner")
    _finish(graph, tape, x, tape.op("Tanh", [inner], name=f"{name}.tanh"), name)


def _finish(graph: ir.Graph, tape: ir.tape.Tape, x: ir.Value, part: ir.Value, name: str) -> None:
    whole = tape.op("Add", [part, _number(graph, 1.0)], name=f"{name}.plus_one")
    double = tape.op("Mul", [x, whole], name=f"{name}.double")
    tape.op("Mul", [double, _number(graph, 0.5)], name=name)


def _number(graph: ir.Graph, number: float) -> ir.Value:
    name = f"number.{number:.6g}"
    found = graph.initializers.get(name)
    return found or add_initializer(graph, name, np.array(number, np.float32))

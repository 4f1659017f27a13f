"""Recognise multi-head attention in whatever form it was written, by what it computed.

    q = Linear(x)   k = Linear(x)   v = Linear(x)          (or one Linear, split afterwards)
    Reshape, Transpose, MatMul, Mul or Div, Add or Where, Softmax, MatMul, Transpose, Reshape
                                                  ->   y = Attention(q, k, v, bias)

How it is found, and what the bias is: attention_search.py.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from edgecompile.attention import padding_bias
from edgecompile.attention_search import AttentionSearch, Found
from edgecompile.errors import UnsupportedError
from edgecompile.facts import linears_are_matmuls, no_identity
from edgecompile.graph import substitute, sweep
from edgecompile.passes import rewrite
from edgecompile.probe import Probe
from edgecompile.probe_feeds import MASK

Sum = tuple[ir.Value | str, ...]
"""What a bias is the sum of: tensors, or MASK for the padding bias."""


@rewrite(needs=[linears_are_matmuls, no_identity])
def fuse_attention(model: ir.Model, probe: Probe) -> ir.Model:
    """Write the operators of an attention as one Attention."""
    model = model.clone()
    search = AttentionSearch(model.graph, probe)
    biases: dict[Sum, ir.Value] = {}
    starts = [n for n in model.graph if n.op_type in ("Softmax", "Attention") and not n.domain]
    for number, node in enumerate(starts):
        if (found := search.run(node)) is not None:
            _write(model.graph, found, biases, f"attention.{number}")
        elif node.op_type == "Attention":
            _complete(node, probe)
    return sweep(model)


def _write(graph: ir.Graph, found: Found, biases: dict[Sum, ir.Value], name: str) -> None:
    inputs = [*found.qkv, *_total(graph, found.bias, biases)]
    attributes = {"q_num_heads": found.heads, "kv_num_heads": found.heads, "scale": found.scale}
    node = ir.node("Attention", inputs, attributes, name=name)
    producer = found.y.producer()
    if producer is not None:
        substitute(graph, [producer], [node])


def _total(
    graph: ir.Graph, parts: Sequence[ir.Value | str], made: dict[Sum, ir.Value]
) -> list[ir.Value]:
    """Return the bias that is the sum of these, made once for the graph; none for nothing."""
    key = tuple(parts)
    if key and key not in made:
        nodes: list[ir.Node] = []
        if MASK in key:
            (mask,) = (v for v in graph.inputs if v.name == MASK)
            nodes = padding_bias(graph, mask)
        values = [nodes[-1].outputs[0] if isinstance(part, str) else part for part in key]
        for value in values[1:]:
            nodes.append(ir.node("Add", [values[0], value], name="attention.bias"))
            values[0] = nodes[-1].outputs[0]
        graph.insert_before(graph[0], nodes)  # sweep sorts
        made[key] = values[0]
    return [made[key]] if key else []


def _complete(node: ir.Node, probe: Probe) -> None:
    """Let an Attention of [B, S, E] tensors state its scale; refuse what is not canonical."""
    numbers = {name: attribute.value for name, attribute in node.attributes.items()}
    q, bias = probe.of(node.inputs[0]), probe.of(node.inputs[3]) if len(node.inputs) > 3 else None
    heads = numbers.get("q_num_heads")
    canonical = (
        q is not None
        and heads is not None
        and heads == numbers.get("kv_num_heads")
        and not (numbers.get("is_causal") or numbers.get("softcap"))
        and not any(node.inputs[4:])
        and len(node.outputs) == 1
        and (bias is None or (bias[0].ndim == 4 and bias[0].dtype == np.float32))
    )
    if not canonical or q is None:
        msg = (
            f"node '{node.name}': an Attention in a form that is not known here (key-value cache,"
            " causal, rotary or grouped heads); export it again with opset 20, which writes it out"
        )
        raise UnsupportedError(msg)
    if "scale" not in numbers:
        node.attributes.add(ir.AttrFloat32("scale", 1 / math.sqrt(q[0].shape[-1] / heads)))

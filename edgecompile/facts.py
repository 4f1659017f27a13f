"""What can be true of a model.

A fact is a function from a model to the first thing that breaks it, or None. Its docstring is
the sentence that users read in errors and in `edgecompile plan`.
"""

from collections.abc import Callable

import onnx_ir as ir

Fact = Callable[[ir.Model], str | None]

EQUALISED = "edgecompile.equalised"
"""Metadata key that marks a graph whose equalising factors are in place."""
SHAPES_INFERRED = "edgecompile.shapes_inferred"
ATTENTION_LOWERED = "edgecompile.attention_lowered"
INT8 = "edgecompile.int8"
FACTORS_SPLIT = "edgecompile.factors_split"
"""Likewise: shape inference has run, attention has its form, the plan's Linears are int8, factors
that OpenVINO would draw into a convolution are kept out of it."""
PLACED = "edgecompile.placed"
"""Likewise: each node says whether it runs on the host or the NPU."""
MASK_LIMITED = "edgecompile.mask_limited"
"""Likewise: what lowers padding's scores is cut to what 8 bits can hold beside real ones."""
LENGTHS = "edgecompile.lengths"
"""Metadata key: the token counts that an artifact is written for, ascending, commas between."""
CHIP = "edgecompile.chip"
"""Metadata key: what the vendor's compiler calls the chip, `key=value` with spaces between."""
PROFILE = "edgecompile.profile"
"""Metadata key: which of its profiles an engine compiles."""
SAMPLES = "edgecompile.samples"
"""Key of what a model holds in memory alone (`Model.meta`): feeds for a vendor's own quantizer."""
TEXT_AXES = "edgecompile.text_axes"
"""Metadata key: which axis of an output counts tokens, {name: axis} in JSON."""
ROLE = "edgecompile.role"
"""Metadata key of a node: "masked", that padding's scores are lowered there."""
SWAP = [0, 2, 1]
"""The permutation that makes [B, C, S] of [B, S, C], and back."""


RANDOM = frozenset({"Bernoulli", "Multinomial", "RandomNormalLike", "RandomUniformLike"})
"""Operators that give other numbers each time: never constants."""


def sentence(fact: Fact) -> str:
    """Return what a fact says."""
    return (fact.__doc__ or fact.__name__).partition("\n")[0]


def no_constant_nodes(model: ir.Model) -> str | None:
    """No node computes from initializers alone."""
    for node in model.graph:
        fixed = node.inputs and all(v is None or v.is_initializer() for v in node.inputs)
        if fixed and not node.domain and node.op_type not in (*RANDOM, "Loop", "Scan"):
            return f"node '{node.name}' ({node.op_type}) is a constant"
    return None


def no_identity(model: ir.Model) -> str | None:
    """No Identity or Dropout is left."""
    for node in model.graph:
        if node.op_type in ("Identity", "Dropout") and not must_stay(node):
            return f"node '{node.name}' is a {node.op_type}"
    return None


def must_stay(node: ir.Node) -> bool:
    """Say whether an Identity hands an input or output on as an output, or a mask is read."""
    x, y = node.inputs[0], node.outputs[0]
    if any(mask.uses() or mask.is_graph_output() for mask in node.outputs[1:]):
        return True
    ends = x is None or x.is_graph_input() or x.is_graph_output() or x.is_initializer()
    return y.is_graph_output() and ends


def linears_are_matmuls(model: ir.Model) -> str | None:
    """No Linear is a Gemm: each is a MatMul by a [in, out] weight, and an Add."""
    for node in model.graph:
        if node.op_type == "Gemm":
            return f"node '{node.name}' is a Gemm"
    return None


def equalised(model: ir.Model) -> str | None:
    """Its equalising factors are in the graph."""
    return None if EQUALISED in model.metadata_props else "they are not applied yet"


def no_attention(model: ir.Model) -> str | None:
    """No Attention is left."""
    for node in model.graph:
        if node.op_type == "Attention" and not node.domain:
            return f"node '{node.name}' is an Attention"
    return None


def mask_is_limited(model: ir.Model) -> str | None:
    """No bias of scores lies lower than padding needs."""
    return None if MASK_LIMITED in model.metadata_props else "they are not limited yet"


def no_layer_norms(model: ir.Model) -> str | None:
    """No LayerNormalization over the last axis is left."""
    for node in model.graph:
        if node.op_type == "LayerNormalization" and _over_last(node):
            return f"node '{node.name}' is a LayerNormalization"
    return None


def _over_last(node: ir.Node) -> bool:
    axis = node.attributes.get("axis")
    return axis is None or axis.as_int() == -1


def attention_runs(model: ir.Model) -> str | None:
    """Every Attention is in a form that onnxruntime runs (its mask has a row for each query)."""
    for node in model.graph:
        if node.op_type == "Attention" and not node.domain and len(node.inputs) > 3:
            mask = node.inputs[3]
            if mask is not None and (p := mask.producer()) is not None and p.op_type != "Expand":
                return f"the mask of node '{node.name}' is not expanded"
    return None


def residuals_are_sums(model: ir.Model) -> str | None:
    """No Add of two tensors feeds a LayerNormalization."""
    for node in model.graph:
        if node.op_type == "Add" and is_residual(node):
            return f"node '{node.name}' is an Add"
    return None


def is_residual(add: ir.Node) -> bool:
    """Say whether an Add of two whole tensors makes what a LayerNormalization reads."""
    if any(
        v is not None and v.is_initializer() and v.shape and len(v.shape) < 2 for v in add.inputs
    ):
        return False  # the bias of a Linear
    return any(user.op_type == "LayerNormalization" for user in add.outputs[0].consumers())


def no_standard_gelu(model: ir.Model) -> str | None:
    """Every Gelu is onnxruntime's own operator, which old opsets take too."""
    for node in model.graph:
        if node.op_type == "Gelu" and not node.domain:
            return f"node '{node.name}' is a standard Gelu"
    return None


def shapes_inferred(model: ir.Model) -> str | None:
    """Every shape that inference can tell is in the graph."""
    return None if SHAPES_INFERRED in model.metadata_props else "it has not run yet"


def attention_is_lowered(model: ir.Model) -> str | None:
    """Every Attention is in the form that the target's file names."""
    return None if ATTENTION_LOWERED in model.metadata_props else "it is still the canonical one"


def linears_are_int8(model: ir.Model) -> str | None:
    """Every Linear of the plan is int8."""
    return None if INT8 in model.metadata_props else "they are not quantized yet"


def nodes_are_placed(model: ir.Model) -> str | None:
    """Every node says where it runs: on the host or on the NPU."""
    return None if PLACED in model.metadata_props else "they are not placed yet"


def no_transposes_cancel(model: ir.Model) -> str | None:
    """No Transpose undoes the one before it."""
    for node in model.graph:
        before = node.inputs[0].producer() if node.inputs and node.inputs[0] else None
        if before is not None and swaps_tokens(before) and undoes(node, before):
            return f"node '{node.name}' undoes '{before.name}'"
    return None


def factors_are_split(model: ir.Model) -> str | None:
    """No convolution takes in a vector of factors after its activation."""
    return None if FACTORS_SPLIT in model.metadata_props else "they are not split yet"


def no_reduce_l2(model: ir.Model) -> str | None:
    """No ReduceL2 is left."""
    for node in model.graph:
        if node.op_type == "ReduceL2" and not node.domain:
            return f"node '{node.name}' is a ReduceL2"
    return None


def tables_are_split(model: ir.Model) -> str | None:
    """Every large embedding table has columns of one range."""
    return None if "tables_are_split" in model.metadata_props else "their columns differ"


def tokens_are_flat(model: ir.Model) -> str | None:
    """Every Linear is a Gemm over [tokens, C]."""
    return None if "tokens_are_flat" in model.metadata_props else "they still are [1, S, C]"


def swaps_tokens(node: ir.Node) -> bool:
    """Say whether a node turns [B, S, C] into [B, C, S], or back."""
    perm = node.attributes.get("perm")
    return node.op_type == "Transpose" and perm is not None and list(perm.as_ints()) == SWAP


def undoes(node: ir.Node, before: ir.Node) -> bool:
    """Say whether a Transpose gives what another was given, and makes no output of the model."""
    given = node.inputs[0] is before.outputs[0] and not node.outputs[0].is_graph_output()
    return given and swaps_tokens(node)

"""The form for Rockchip's NPUs: factors that cannot be folded away, and the same numbers."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile import engines, prepare, stages
from edgecompile.data.fit_feed import fit_feed
from edgecompile.errors import UnsupportedError
from edgecompile.export.read_model import find_source
from edgecompile.facts import SAMPLES
from edgecompile.graph import constant, linears, sizes
from edgecompile.placement import EMBED, ENCODER, PARTS, POOL, cut_part, place_of
from edgecompile.plan import FLOAT, Plan
from edgecompile.recipe import CalibrationTable, Recipe, ShapesTable
from edgecompile.session import answer, session
from edgecompile.target import Target, load
from edgecompile.trace import Trace

LENGTH = 32
RECIPE = Recipe(shapes=ShapesTable((1, LENGTH)), calibration=CalibrationTable(samples=16))


def prepared_of(folder: Path) -> prepare.Prepared:
    """Prepare a model as a build does."""
    return prepare.prepare(find_source(folder), RECIPE, Trace(), outputs=True)


def board_of(profile: str = "accurate") -> Target:
    """Return a target as a build sets it."""
    wishes = replace(RECIPE, quantize=replace(RECIPE.quantize, profile=profile))
    return engines.fit_lengths(load("rk3588-npu"), wishes, LENGTH)


def lowered_of(prepared: prepare.Prepared) -> ir.Model:
    """Lower as a build does."""
    board, data = board_of(), prepared.data
    plan = engines.observe(prepared.plan, board, prepared.model, data.calibration)
    return stages.lower(prepared.model, plan, board)


def widest(plan: Plan) -> Plan:
    """Return the plan with factors far apart, on all that Linears read and give."""
    random = np.random.default_rng(0)

    def spread(smoothing: np.ndarray) -> np.ndarray:
        return np.exp(random.normal(size=smoothing.shape)).astype(np.float32)

    activations = {
        n: replace(a, smoothing=spread(a.smoothing)) for n, a in plan.activations.items()
    }
    outputs = {n: replace(y, smoothing=spread(y.smoothing)) for n, y in plan.outputs.items()}
    return replace(plan, activations=activations, outputs=outputs)


@pytest.mark.parametrize(
    ("family", "head"),
    [("bert", None), ("bert", "sequence"), ("distilbert", None), ("roberta", "token")],
)
def test_any_factors_leave_the_answers_as_they_were(
    family: str, head: str | None, checkpoint: Callable[..., Path]
) -> None:
    """Whatever s and t: where y / s is read, s is given back, and padding changes nothing."""
    prepared = prepared_of(checkpoint(family, head, sentence_transformers=head is None))
    for plan in (FLOAT, replace(widest(prepared.plan), embeddings="")):
        lowered = stages.lower(prepared.model, plan, board_of())
        feeds = [fit_feed(feed, lowered, LENGTH) for feed in prepared.data.golden[:4]]
        found = answer(session(lowered, optimise=False), feeds)
        for (ours, *_), (truth, *_) in zip(found, prepared.expected, strict=False):
            given = ours[:, : truth.shape[1]]  # of tokens, without padding
            np.testing.assert_allclose(given, truth, atol=2e-5 * np.abs(truth).max())


def test_factors_stand_where_the_compiler_keeps_them(checkpoint: Callable[..., Path]) -> None:
    """No Mul before a Linear but behind a barrier; one between each residual sum and its norm."""
    graph = lowered_of(prepared_of(checkpoint(sentence_transformers=True))).graph
    gemms = [node for node in graph if node.op_type == "Gemm"]
    assert len(gemms) == 2 * 6
    readers = Counter(_maker(node.inputs[0]) for node in gemms)
    assert readers["Mul"] == 0
    assert readers["Clip"] == 2
    for clip in [node for node in graph if node.op_type == "Clip" and place_of(node) == ENCODER]:
        assert _maker(clip.inputs[0]) == "Mul"
        assert [float(constant(v) or 0) for v in clip.inputs[1:]] == [-6e4, 6e4]
    norms = [n for n in graph if n.op_type == "LayerNormalization" and place_of(n) == ENCODER]
    for norm in norms:
        assert _maker(norm.inputs[0]) == "Mul"
        assert "Add" in {_maker(value) for value in norm.inputs[0].producer().inputs}


def _maker(value: ir.Value | None) -> str:
    node = value.producer() if value is not None else None
    while node is not None and node.op_type in ("Reshape", "Transpose"):
        node = node.inputs[0].producer()
    return node.op_type if node is not None else ""


def test_ids_and_pooling_stay_on_the_host(checkpoint: Callable[..., Path]) -> None:
    """The encoder has floats of fixed shapes alone, the mask cut to -50, and all Linears."""
    lowered = lowered_of(prepared_of(checkpoint(sentence_transformers=True)))
    parts = {part: cut_part(lowered, part) for part in PARTS}
    kinds = {part: {node.op_type for node in cut.graph} for part, cut in parts.items()}
    assert {"Gather", "Max"} <= kinds[EMBED]
    assert "Gemm" in kinds[ENCODER]
    assert not kinds[ENCODER] & {"Gather", "Cast", "ReduceSum", "Gelu", "Attention"}
    assert "ReduceSum" in kinds[POOL]
    assert all(value.dtype == ir.DataType.FLOAT for value in parts[ENCODER].graph.inputs)
    assert {str(v.name) for v in parts[ENCODER].graph.inputs} <= {
        str(v.name) for v in parts[EMBED].graph.outputs
    }
    assert all(len(sizes(value)) for value in parts[ENCODER].graph.outputs)
    opened = session(parts[EMBED])
    feed = {v.name: np.zeros(v.shape, np.int32 if "int32" in v.type else np.float32)
            for v in opened.get_inputs()}  # fmt: skip
    lowest = min(array.min() for array in opened.run(None, feed) if array.size == LENGTH)
    assert lowest == -50
    held = {name for name in parts[EMBED].graph.initializers if name.endswith("query.weight")}
    assert not held, "a part holds the weights of another"


def test_the_vendors_quantizer_gets_the_samples(checkpoint: Callable[..., Path]) -> None:
    """They travel beside the graph; scheme "none" has none, and is float16."""
    prepared = prepared_of(checkpoint())
    assert len(lowered_of(prepared).meta[SAMPLES]) == 16
    lowered = stages.lower(prepared.model, FLOAT, board_of())
    assert not lowered.meta[SAMPLES]
    assert lowered.metadata_props["edgecompile.profile"] == "float16"


def test_gelu_is_what_exporters_write(
    graph: Callable[..., ir.Model], rewrite: Callable[..., ir.Model]
) -> None:
    """Both kinds, and a chain of Linears without tokens: all of it is the NPU's."""
    w = (np.random.default_rng(0).normal(size=(8, 8)) / 3).astype(np.float32)
    for kind in ("none", "tanh"):
        model = graph(
            f"""(float[1,8] x) => (float[1,8] y) {{
            a = MatMul(x, v)
            b = Gelu<approximate="{kind}">(a)
            y = MatMul(b, w) }}""",
            v=w, w=w,
        )  # fmt: skip
        lowered = rewrite("lower/rknn", model, plan=FLOAT, target=board_of())
        feed = {"x": np.random.default_rng(1).normal(size=(1, 8)).astype(np.float32) * 3}
        (ours,), (truth,) = (session(m, optimise=False).run(None, feed) for m in (lowered, model))
        np.testing.assert_allclose(ours, truth, atol=1e-6)
        assert not {node.op_type for node in lowered.graph} & {"Gelu", "MatMul"}
        assert [place_of(n) for n in lowered.graph].count(EMBED) == 1
        assert len(list(linears(model.graph))) == 2


def test_without_a_linear_there_is_nothing_for_the_npu(
    graph: Callable[..., ir.Model], rewrite: Callable[..., ir.Model]
) -> None:
    """One line."""
    model = graph("(float[1,8] x) => (float[1,8] y) { y = Relu(x) }")
    with pytest.raises(UnsupportedError, match="no Linear"):
        rewrite("lower/rknn", model, plan=FLOAT, target=board_of())

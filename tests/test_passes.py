"""Passes: found by their folder, ordered by their needs, checked as they run, and pure."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx.parser
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import edgecompile
from edgecompile import engines, passes, pipeline, target
from edgecompile.errors import NeedError, PromiseError
from edgecompile.facts import Fact, sentence
from edgecompile.graph import linears
from edgecompile.passes import Pass
from edgecompile.plan import Plan
from edgecompile.probe import take_probe
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_ranges import observe_ranges

ROOT = Path(edgecompile.__file__).parent


thorough = settings(max_examples=100)


def stage_folders() -> list[str]:
    """Return the folders that hold a pass, as stages are named."""
    files = [f for f in ROOT.rglob("*/*.py") if "@rewrite(" in f.read_text(encoding="utf-8")]
    return sorted({f.parent.relative_to(ROOT).as_posix() for f in files})


STAGES = stage_folders()
MODULES = [
    pytest.param(stage, file.stem, id=f"{stage}/{file.stem}")
    for stage in STAGES
    for file in sorted((ROOT / stage).glob("*.py"))
    if file.stem != "__init__"
]
PASSES = [
    pytest.param(stage, p, id=f"{stage}/{p.name}")
    for stage in STAGES
    for p in passes.passes_of(stage)
]


# --- one encoder layer as a legacy exporter writes it: what all passes are run on ---------------

FOREIGN = """
<ir_version: 11, opset_import: ["": 23]>
classifier (int64[batch, sequence] input_ids, int64[batch, sequence] attention_mask)
  => (float[batch, 3] logits)
<int64[1] zero = {0}, int64[1] one = {1}, int64[1] two = {2}, int64 first = {0}, int64 second = {1},
 int64[1] last = {-1}, int64[4] split = {0, 0, 2, -1}, int64[3] merge = {0, 0, -1},
 float square = {2.0}, float tiny = {1e-6}, float half = {0.5}, float unit = {1.0},
 float root2 = {1.4142135}, float root_d = {2.0}, float masked = {-10000.0}>
{
  word = Gather(words, input_ids)
  word_again = Identity(word)
  shape = Shape(input_ids)
  length = Gather(shape, second)
  length_1d = Unsqueeze(length, zero)
  ids = Slice(position_ids, zero, length_1d, one)
  position = Gather(positions, ids)
  sum = Add(word_again, position)

  e_mean = ReduceMean(sum, last)
  e_centred = Sub(sum, e_mean)
  e_squared = Pow(e_centred, square)
  e_variance = ReduceMean(e_squared, last)
  e_safe = Add(e_variance, tiny)
  e_deviation = Sqrt(e_safe)
  e_normal = Div(e_centred, e_deviation)
  e_scaled = Mul(e_normal, gain)
  x = Add(e_scaled, shift)

  mask_2d = Cast<to=1>(attention_mask)
  mask_float = Unsqueeze(mask_2d, one)
  mask_4d = Unsqueeze(mask_float, two)
  padded = Sub(unit, mask_4d)
  mask_2d_again = Cast<to=1>(attention_mask)
  mask_float_again = Unsqueeze(mask_2d_again, one)
  mask_4d_again = Unsqueeze(mask_float_again, two)
  padded_again = Sub(unit, mask_4d_again)
  some = Add(padded, padded_again)
  some_half = Mul(some, half)
  bias = Mul(some_half, masked)

  q_weight = Transpose<perm=[1, 0]>(q_weight_t)
  q_0 = MatMul(x, q_weight)
  q = Add(q_0, q_bias)
  k_0 = MatMul(x, k_weight)
  k = Add(k_0, k_bias)
  v_0 = MatMul(x, v_weight)
  v = Add(v_0, v_bias)
  q_4d = Reshape(q, split)
  k_4d = Reshape(k, split)
  v_4d = Reshape(v, split)
  q_heads = Transpose<perm=[0, 2, 1, 3]>(q_4d)
  k_heads = Transpose<perm=[0, 2, 3, 1]>(k_4d)
  v_heads = Transpose<perm=[0, 2, 1, 3]>(v_4d)
  raw = MatMul(q_heads, k_heads)
  scaled = Div(raw, root_d)
  scores = Add(scaled, bias)
  weights = Softmax<axis=-1>(scores)
  mixed = MatMul(weights, v_heads)
  mixed_back = Transpose<perm=[0, 2, 1, 3]>(mixed)
  context = Reshape(mixed_back, merge)
  o_0 = MatMul(context, o_weight)
  o = Add(o_0, o_bias)
  residual = Add(o, x)
  y = LayerNormalization<axis=-1>(residual, gain, shift)

  up_0 = MatMul(y, up_weight)
  up = Add(up_0, up_bias)
  up_scaled = Div(up, root2)
  up_erf = Erf(up_scaled)
  up_one = Add(up_erf, unit)
  up_gated = Mul(up, up_one)
  up_gelu = Mul(up_gated, half)
  down_0 = MatMul(up_gelu, down_weight)
  down = Add(down_0, down_bias)
  residual_2 = Add(down, y)
  hidden = LayerNormalization<axis=-1>(residual_2, gain, shift)

  head = Gather<axis=1>(hidden, first)
  logits = Gemm<transB=1>(head, logits_weight, logits_bias)
}
"""
WIDTH, WIDE, ROWS, LABELS = 8, 16, 96, 3


def foreign_model() -> ir.Model:
    """Return the layer above with random weights."""
    random = np.random.default_rng(7)
    shapes = {"words": (ROWS, WIDTH), "positions": (ROWS, WIDTH), "gain": (WIDTH,)}
    shapes |= {"shift": (WIDTH,), "logits_weight": (LABELS, WIDTH), "logits_bias": (LABELS,)}
    shapes |= {f"{n}_weight": (WIDTH, WIDTH) for n in ("k", "v", "o")}
    shapes |= {"q_weight_t": (WIDTH, WIDTH), "up_weight": (WIDTH, WIDE)}
    shapes |= {"down_weight": (WIDE, WIDTH), "up_bias": (WIDE,)}
    shapes |= {f"{n}_bias": (WIDTH,) for n in ("q", "k", "v", "o", "down")}
    arrays = {n: random.normal(size=shape).astype(np.float32) for n, shape in shapes.items()}
    arrays["position_ids"] = np.arange(ROWS)[None]
    proto = onnx.parser.parse_model(FOREIGN)
    proto.graph.initializer.extend(onnx.numpy_helper.from_array(a, n) for n, a in arrays.items())
    return ir.from_proto(proto)


def snapshot(model: ir.Model) -> bytes:
    """Return all that a model is, weights included."""
    return ir.to_proto(model).SerializeToString(deterministic=True)


@dataclass(frozen=True, slots=True)
class Ran:
    """One pass that ran: the model before, as bytes from before and from after, and the result."""

    before: bytes
    after: bytes
    result: ir.Model
    again: bytes


@cache
def canonical() -> ir.Model:
    """Return the foreign layer after the canonicalise stage."""
    model = foreign_model()
    for _, result in passes.run(
        passes.passes_of("canonicalise"), model, {"probe": take_probe(model)}
    ):
        model = result
    return model


def contexts(stage: str, model: ir.Model) -> list[dict[str, Any]]:
    """Return what passes of a stage may ask for: once for each target that the stage serves."""
    if stage == "canonicalise":
        return [{"probe": take_probe(model)}]
    apart = Plan(kept_float={linear.name: "" for linear in linears(model.graph)})
    reference = pipeline.lower(model, apart, target.REFERENCE)
    random = np.random.default_rng(3)
    feeds = [
        {
            "input_ids": random.integers(0, ROWS, (1, n)),
            "attention_mask": np.ones((1, n), np.int64),
        }
        for n in (4, 9)
    ]
    plan = decide_plan(model, observe_ranges(reference, feeds, outputs=True), outputs=True)
    boards = [target.load(name) for name in target.names()]
    served = [b for b in boards if f"lower/{b.engine}" == stage] or [target.REFERENCE]
    if stage == "lower/ethos_u":  # nothing is float there: each tensor has a range
        plan = engines.observe(plan, served[0], model, feeds)
    return [{"plan": plan, "target": board} for board in served]


@cache
def trail(stage: str) -> dict[str, list[Ran]]:
    """Run a stage's passes one by one; return what each met and made, by its name."""
    start = foreign_model() if stage == "canonicalise" else canonical()
    found: dict[str, list[Ran]] = {}
    for context in contexts(stage, start):
        model = start
        for p in passes.in_order(passes.passes_of(stage)):
            asked = {name: context[name] for name in p.asks}
            before = snapshot(model)
            result = p.run(model, **asked)
            ran = Ran(before, snapshot(model), result, snapshot(p.run(model, **asked)))
            found.setdefault(p.name, []).append(ran)
            model = result
    return found


# --- what a pass is ------------------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "module"), MODULES)
def test_file_in_a_stage_folder_is_a_pass(stage: str, module: str) -> None:
    """Each file of a stage folder is one pass: its folder is its stage, its name is its name."""
    name = module.replace("_", "-")
    assert [(p.stage, p.name) for p in passes.passes_of(stage) if p.name == name] == [(stage, name)]
    assert len(passes.passes_of(stage)) == len([m for m in MODULES if m.values[0] == stage])


def test_new_file_is_a_new_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A new pass is one new file; nothing else is edited."""
    from edgecompile import canonicalise

    (tmp_path / "measure_nothing.py").write_text(
        "from edgecompile.passes import rewrite\n\n\n"
        "@rewrite()\ndef run(model, probe):\n    return model\n",
        encoding="utf-8",
    )
    monkeypatch.setattr(canonicalise, "__path__", [*canonicalise.__path__, str(tmp_path)])
    try:
        found = passes.passes_of.__wrapped__("canonicalise")
    finally:
        sys.modules.pop("edgecompile.canonicalise.measure_nothing", None)
    (new,) = set(found) - set(passes.passes_of("canonicalise"))
    assert (new.name, new.stage, new.asks) == ("measure-nothing", "canonicalise", ("probe",))


def test_rewrite_reads_stage_name_and_asks() -> None:
    """A pass is named after its module; what it asks for are its parameters after the model."""

    def run(model: ir.Model, plan: object, target: object) -> ir.Model:
        del plan, target
        return model

    run.__module__ = "edgecompile.lower.litert.fuse_all_things"
    found = passes.rewrite(needs=[no_offender], gives=[one_offender])(run)
    assert (found.stage, found.name) == ("lower/litert", "fuse-all-things")
    assert found.asks == ("plan", "target")
    assert (found.needs, found.gives) == ({no_offender}, {one_offender})


@pytest.mark.parametrize("name", target.names())
def test_every_target_has_passes_that_lower_for_it(name: str) -> None:
    """The engine that a target names has a folder of lowering passes."""
    assert passes.passes_of(f"lower/{target.load(name).engine}")


@pytest.mark.parametrize(("stage", "p"), PASSES)
def test_pass_says_what_it_does(stage: str, p: Pass) -> None:
    """A pass's docstring is the line that `edgecompile plan` shows; its facts are sentences."""
    lines = [(p.run.__doc__ or "").partition("\n")[0], *map(sentence, p.needs | p.gives)]
    assert all(line.endswith(".") and len(line) > 10 for line in lines), (stage, lines)


# --- order ---------------------------------------------------------------------------------------


def no_offender(_model: ir.Model) -> str | None:
    """All is well."""
    return None


def one_offender(_model: ir.Model) -> str | None:
    """No node is odd."""
    return "node 'n' is odd"


def same(model: ir.Model) -> ir.Model:
    """Return a model as it is."""
    return model


def fact(number: int) -> Fact:
    """Return a fact of its own that holds for every model."""

    def holds(_model: ir.Model) -> str | None:
        return None

    holds.__doc__ = f"Fact {number} holds."
    return holds


def a_pass(
    name: str,
    needs: Iterable[Fact] = (),
    gives: Iterable[Fact] = (),
    run: Callable[..., ir.Model] = same,
    asks: tuple[str, ...] = (),
) -> Pass:
    """Return a pass made by hand."""
    return Pass(name, "stage", run, frozenset(needs), frozenset(gives), asks)


def misplaced(order: list[Pass]) -> list[tuple[str, str]]:
    """Return each pass that stands before one that gives what it needs, with that one."""
    return [
        (early.name, late.name)
        for place, early in enumerate(order)
        for late in order[place + 1 :]
        if early.needs & (late.gives - early.gives)
    ]


@pytest.mark.parametrize("stage", STAGES)
def test_stage_puts_each_pass_after_those_that_help_it(stage: str) -> None:
    """No pass of a stage comes before one that gives what it needs, and none is lost."""
    order = passes.in_order(passes.passes_of(stage))
    assert misplaced(order) == []
    assert set(order) == set(passes.passes_of(stage))


@pytest.mark.parametrize(("stage", "p"), PASSES)
def test_every_need_has_a_giver(stage: str, p: Pass) -> None:
    """What a pass needs is given by some pass of some stage, or no order could satisfy it."""
    given_somewhere = {f for s in STAGES for q in passes.passes_of(s) for f in q.gives}
    assert p.needs <= given_somewhere, (stage, [sentence(f) for f in p.needs - given_somewhere])


@thorough
@given(st.data())
def test_needs_decide_the_order(data: st.DataObject) -> None:
    """Whatever passes are called, each comes after those that give what it needs."""
    count = data.draw(st.integers(1, 8))
    names = data.draw(st.permutations([f"pass-{letter}" for letter in "abcdefgh"]))
    facts = [fact(number) for number in range(count)]
    earlier = [data.draw(st.sets(st.sampled_from(facts[:n]))) if n else set() for n in range(count)]
    made = [a_pass(names[n], earlier[n], [facts[n]]) for n in range(count)]
    order = passes.in_order(data.draw(st.permutations(made)))
    assert misplaced(order) == []
    assert {p.name for p in order} == {p.name for p in made}
    assert len(order) == count


def test_passes_without_needs_go_by_name() -> None:
    """Ties go by name, so the order is the same on every machine."""
    order = passes.in_order([a_pass("c"), a_pass("a"), a_pass("b")])
    assert [p.name for p in order] == ["a", "b", "c"]


def test_circle_of_needs_is_named() -> None:
    """Passes that wait for each other end in an error that names one and its helper."""
    circle = [
        a_pass("a", needs=[one_offender], gives=[no_offender]),
        a_pass("b", needs=[no_offender], gives=[one_offender]),
    ]
    assert [p.name for p in passes.in_order(circle)] == ["a", "b"]
    with pytest.raises(NeedError, match=r"^a needs: .* Add before it: b$"):
        list(passes.run(circle, canonical()))


# --- running -------------------------------------------------------------------------------------


def test_broken_need_names_pass_offender_and_helper() -> None:
    """A need that does not hold: which pass, what it needs, what breaks it, what would help."""

    def tidy(model: ir.Model) -> str | None:
        """No node is odd."""
        return None if "tidy" in model.metadata_props else "node 'n' is odd"

    def marked(model: ir.Model) -> ir.Model:
        model = model.clone()
        model.metadata_props["tidy"] = "yes"
        return model

    spoiled = fact(1)
    helper = a_pass("remove-odd", gives=[tidy], run=marked)
    spoiler = a_pass("spoil-all", needs=[tidy], gives=[spoiled], run=lambda _: canonical())
    needy = a_pass("fuse-even", needs=[tidy, spoiled])
    with pytest.raises(NeedError) as caught:
        list(passes.run([needy, spoiler, helper], canonical()))
    assert str(caught.value) == (
        "fuse-even needs: No node is odd. But node 'n' is odd. Add before it: remove-odd"
    )
    assert caught.value.exit_code == 1


def test_broken_need_that_no_pass_gives() -> None:
    """When no pass of the run would help, the error says so."""
    with pytest.raises(NeedError) as caught:
        list(passes.run([a_pass("fuse-even", needs=[one_offender])], canonical()))
    assert str(caught.value).endswith("Add before it: nothing; change the model")


def test_broken_promise_is_a_bug_of_the_pass() -> None:
    """A promise that does not hold afterwards is our bug: exit code 70, pass and offender named."""
    with pytest.raises(PromiseError) as caught:
        list(passes.run([a_pass("remove-odd", gives=[one_offender])], canonical()))
    assert str(caught.value) == (
        "bug in remove-odd: it promised: No node is odd. But node 'n' is odd."
    )
    assert caught.value.exit_code == 70


def test_need_is_checked_before_the_pass_runs() -> None:
    """A pass whose need is broken does not run at all."""
    met: list[ir.Model] = []

    def note(model: ir.Model) -> ir.Model:
        met.append(model)
        return model

    with pytest.raises(NeedError):
        list(passes.run([a_pass("late", needs=[one_offender], run=note)], canonical()))
    assert met == []


def test_run_hands_on_models_and_what_passes_ask_for() -> None:
    """Each pass gets the result of the one before it, and of the context just what it asks for."""
    first, second = canonical().clone(), canonical().clone()
    seen: list[tuple[ir.Model, object]] = []

    def take(model: ir.Model, plan: object) -> ir.Model:
        seen.append((model, plan))
        return second

    order = [a_pass("a", run=lambda _: first), a_pass("b", run=take, asks=("plan",))]
    results = [model for _, model in passes.run(order, canonical(), {"plan": 5, "target": 6})]
    assert results == [first, second]
    assert seen == [(first, 5)]


def test_step_tells_operators_and_bytes() -> None:
    """A step holds its stage and name, and the operators and weight bytes that it leaves."""
    model = ir.from_proto(
        onnx.parser.parse_model(
            '<ir_version: 10, opset_import: ["": 20]> m (float[b, 2] x) => (float[b, 3] z) '
            "<float[2, 3] w = {1, 2, 3, 4, 5, 6}, float[3] c = {0, 0, 0}> "
            "{ y = MatMul(x, w) z = Add(y, c) }"
        )
    )
    ((step, _),) = passes.run([a_pass("keep-all")], model)
    assert (step.stage, step.name, step.ops, step.bytes) == ("stage", "keep-all", 2, 4 * 9)
    assert step.seconds >= 0


# --- every pass of every stage -------------------------------------------------------------------


@pytest.mark.parametrize(("stage", "p"), PASSES)
def test_pass_leaves_its_input_unchanged(stage: str, p: Pass) -> None:
    """A pass is pure: the model that it is given is, byte for byte, what it was."""
    for ran in trail(stage)[p.name]:
        assert ran.after == ran.before


@pytest.mark.parametrize(("stage", "p"), PASSES)
def test_pass_gives_the_same_bytes_again(stage: str, p: Pass) -> None:
    """The same model gives the same model: no order of a set, no counter shows through."""
    for ran in trail(stage)[p.name]:
        assert ran.again == snapshot(ran.result)


@pytest.mark.parametrize(("stage", "p"), PASSES)
def test_pass_keeps_its_promise(stage: str, p: Pass) -> None:
    """What a pass gives holds for its result, whichever target it ran for."""
    for ran in trail(stage)[p.name]:
        assert {sentence(f): f(ran.result) for f in p.gives} == {sentence(f): None for f in p.gives}


def test_stages_are_put_to_work() -> None:
    """The layer that these tests run on gives work to almost every pass: few leave it as it is."""
    ran = {(stage, name): runs for stage in STAGES for name, runs in trail(stage).items()}
    idle = [name for name, runs in ran.items() if all(snapshot(r.result) == r.before for r in runs)]
    assert len(idle) <= len(ran) // 4, idle

"""Training in this process: narrowing on the way, int8 in view, losses that mean what they say."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("accelerate")

from edgecompile import target  # noqa: E402 - after the skip
from edgecompile.distill.batches import Samples, collate  # noqa: E402
from edgecompile.distill.fake_quant import fake_linears, imitate, round_columns  # noqa: E402
from edgecompile.distill.job import Job, Moment  # noqa: E402
from edgecompile.distill.judge import to_torch  # noqa: E402
from edgecompile.distill.losses import Target, Weights, losses  # noqa: E402
from edgecompile.distill.pairs import Pairs, find_pairs  # noqa: E402
from edgecompile.distill.stops import Stop  # noqa: E402
from edgecompile.distill.train import Training  # noqa: E402
from edgecompile.distill.workers import open_workers  # noqa: E402
from edgecompile.export import read_model  # noqa: E402
from edgecompile.plan import FLOAT, Activation, Plan, affine  # noqa: E402
from edgecompile.quantize.decide_plan import decide_plan  # noqa: E402
from edgecompile.quantize.observe_ranges import observe_ranges  # noqa: E402
from edgecompile.recipe import DistillTable  # noqa: E402
from edgecompile.rounding import quantize_weight  # noqa: E402
from edgecompile.session import answer, session  # noqa: E402
from edgecompile.stages import lower  # noqa: E402
from edgecompile.torch_graph.graph_module import GraphModule  # noqa: E402

pytestmark = pytest.mark.exporters

Cut = Callable[[ir.Model, Iterable[int]], ir.Model]
FFN = "encoder.layer.0.intermediate.dense.weight"
TABLE = DistillTable(
    steps=24, batch=8, held_out=8, evaluate_every=6, checkpoint_every=4, learning_rate=0.003
)


class Killed(BaseException):
    """Ends a training between two steps, as a kill would."""


@dataclass(frozen=True)
class Study:
    """A dense graph, random texts, and a way to train a student of it."""

    dense: ir.Model
    samples: Samples
    held: Samples
    place: Path

    def job(self, student: ir.Model, table: DistillTable = TABLE, **more: Any) -> Job:
        """Return a training of a student."""
        return Job(self.dense, student, self.samples, self.held, table, self.place, **more)


@pytest.fixture
def study(tmp_path: Path, checkpoint: Callable[..., Path]) -> Study:
    """Return one of a tiny BERT."""
    folder = checkpoint("bert", sentence_transformers=True)
    dense = read_model.export(read_model.find_source(folder))
    random = np.random.default_rng(0)
    feeds = []
    for _ in range(90):
        ids = random.integers(5, 100, (1, int(random.integers(3, 16))))
        feeds.append({"input_ids": ids, "attention_mask": ids * 0 + 1, "token_type_ids": ids * 0})
    return Study(dense, Samples(feeds[:80]), Samples(feeds[80:]), tmp_path / "student")


def train(job: Job, *, stop_at: int = -1) -> dict[str, np.ndarray[Any, Any]]:
    """Train to the end, or until a step is done; return the student's weights."""
    job.folder.mkdir(exist_ok=True)

    def tell(moment: Moment) -> None:
        if moment.step == stop_at:
            raise Killed

    trained = Training(job, open_workers(job.table), Stop(), tell).run()
    values = trained.model.graph.initializers.items()
    return {n: v.const_value.numpy() for n, v in values if v.const_value is not None}


def test_narrowing_on_the_way_survives_a_kill(study: Study, narrower: Cut, tmp_path: Path) -> None:
    """`narrow` is asked every few steps; killed before and after, the weights end the same."""
    asked: list[float] = []

    def narrow(model: ir.Model, done: float) -> ir.Model | None:
        asked.append(done)
        width = model.graph.initializers[FFN].shape
        assert width is not None
        return narrower(model, range(int(width[1]) - 16)) if done < 0.8 else None

    table = replace(TABLE, narrow_every=6)
    start = narrower(study.dense, range(63))
    wanted = train(study.job(start, table, narrow=narrow))
    assert asked == [0.25, 0.5, 0.75, 1.0]
    assert wanted[FFN].shape == (32, 63 - 3 * 16)
    again = replace(study, place=tmp_path / "again")
    for moment in (5, 6, 14, 15, 23):
        with pytest.raises(Killed):
            train(again.job(start, table, narrow=narrow), stop_at=moment)
    found = train(again.job(start, table, narrow=narrow))
    assert found.keys() == wanted.keys()
    for name, array in wanted.items():
        np.testing.assert_array_equal(found[name], array)


def test_the_same_seed_gives_the_same_weights_and_another_does_not(
    study: Study, narrower: Cut, tmp_path: Path
) -> None:
    """The order of samples is the seed's, so are the weights."""
    start = narrower(study.dense, range(16))
    first = train(study.job(start))
    again = train(replace(study, place=tmp_path / "again").job(start))
    other = train(replace(study, place=tmp_path / "b").job(start, replace(TABLE, seed=1)))
    np.testing.assert_array_equal(first[FFN], again[FFN])
    assert np.abs(first[FFN] - other[FFN]).max() > 0


def test_products_in_16_bits_learn_as_much(study: Study, narrower: Cut, tmp_path: Path) -> None:
    """Other roundings, much the same steps: the weights stay float32."""
    start = narrower(study.dense, range(16))
    whole = train(study.job(start))
    table = replace(TABLE, precision="bf16")
    mixed = train(replace(study, place=tmp_path / "bf16").job(start, table))
    begun = start.graph.initializers[FFN].const_value
    assert begun is not None
    moved, apart = whole[FFN] - begun.numpy(), whole[FFN] - mixed[FFN]
    assert mixed[FFN].dtype == np.float32
    assert 0 < np.linalg.norm(apart) < 0.5 * np.linalg.norm(moved)


def test_tables_stay_unless_asked_for(study: Study, narrower: Cut, tmp_path: Path) -> None:
    """Embeddings are the teacher's, unless `embeddings` trains them too."""
    start = narrower(study.dense, range(16))
    name = "embeddings.word_embeddings.weight"
    before = start.graph.initializers[name].const_value
    assert before is not None
    np.testing.assert_array_equal(train(study.job(start))[name], before.numpy())
    table = replace(TABLE, embeddings=True)
    after = train(replace(study, place=tmp_path / "b").job(start, table))[name]
    assert np.abs(after - before.numpy()).max() > 0


# ------------------------------------------------------------------ int8 in view


def planned(study: Study, model: ir.Model) -> Plan:
    """Return the int8 plan of a graph."""
    reference = lower(model, FLOAT, target.REFERENCE)
    return decide_plan(model, observe_ranges(reference, study.samples.feeds))


def rms(values: Sequence[Any]) -> float:
    """Return the root of the mean square of all arrays together."""
    return float(np.sqrt(np.mean(np.concatenate([np.ravel(v) for v in values]) ** 2)))


def test_a_fake_linear_computes_what_the_int8_one_does() -> None:
    """Against integers and scales written out in numpy."""
    random = np.random.default_rng(0)
    x = random.normal(size=(7, 24)).astype(np.float32)
    weight, bias = (random.normal(size=s).astype(np.float32) for s in ((24, 12), (12,)))
    s = random.uniform(0.5, 2, 24).astype(np.float32)
    activation = Activation(-2.0, 1.5, s, (x / s).mean(axis=0), 0.5)
    scale, zero = affine(-2.0, 1.5)
    q = np.clip(np.rint(x / s / np.float32(scale)) + zero, 0, 255)
    w, columns = quantize_weight(weight * s[:, None])
    corrected = bias - activation.mean @ (w * columns - weight * s[:, None])
    wanted = ((q - zero) @ w.astype(np.float64)) * scale * columns + corrected
    found = imitate(activation)(*map(torch.from_numpy, (x, weight, bias)))
    np.testing.assert_allclose(found.numpy(), wanted, rtol=0, atol=1e-5)


def test_fake_linears_are_near_the_artifact(study: Study) -> None:
    """A module that imitates the plan is nearer to the plan's artifact than float is.

    (On a CPU without VNNI the artifact's sums saturate, which is not imitated.)
    """
    plan = replace(planned(study, study.dense), embeddings=False)
    assert plan.activations
    board = target.load("x86-64-vnni")
    int8 = answer(session(lower(study.dense, plan, board)), study.held.feeds)
    fake = GraphModule(study.dense, fake=fake_linears(plan))
    plain = GraphModule(study.dense)
    cpu = torch.device("cpu")
    given = {
        kind: [
            next(iter(module(to_torch(collate(Samples([feed])), cpu)).values())).detach().numpy()
            for feed in study.held.feeds
        ]
        for kind, module in (("fake", fake), ("float", plain))
    }
    errors = {
        kind: rms([a - b[0] for a, b in zip(found, int8, strict=True)])
        for kind, found in given.items()
    }
    assert errors["fake"] < 0.7 * errors["float"]


def test_weights_round_bit_for_bit_as_the_artifacts() -> None:
    """One scale a column, -127..127, halves to even."""
    weight = np.random.default_rng(0).normal(size=(24, 12)).astype(np.float32)
    weight[:, 3] = 0
    q, scale = quantize_weight(weight)
    found = round_columns(torch.from_numpy(weight)).numpy()
    np.testing.assert_allclose(found, q * scale, rtol=1e-6, atol=0)


def test_gradients_pass_the_rounding(study: Study) -> None:
    """Each weight of a module that imitates int8 gets a gradient."""
    module = GraphModule(study.dense, fake=fake_linears(planned(study, study.dense)))
    feed = to_torch(collate(Samples(study.held.feeds[:4])), torch.device("cpu"))
    sum(output.square().mean() for output in module(feed).values()).backward()
    assert all(float(weight.grad.abs().max()) > 0 for weight in module.weights().values())


def test_a_student_trains_with_int8_in_view(study: Study, narrower: Cut) -> None:
    """Trained quantization-aware, the student's score is that of int8, and it trains."""
    start = narrower(study.dense, range(48))
    table = replace(TABLE, quantize_aware=True)
    job = study.job(start, table, plan=lambda model: planned(study, model))
    job.folder.mkdir()
    training = Training(job, open_workers(table), Stop(), lambda _: None)
    trained = training.run()
    assert trained.history[-1]["loss"] < trained.history[1]["loss"]
    assert trained.history[-1]["mean"] > trained.history[0]["mean"]


# ------------------------------------------------------------------ what is compared


def test_pairs_are_found_in_the_graphs(study: Study, narrower: Cut) -> None:
    """Five states of the residual stream, two attentions; one of another width is none."""
    pairs = find_pairs(study.dense, narrower(study.dense, range(16)))
    assert pairs.outputs == ("sentence_embedding",)
    assert len(pairs.hidden) == 5
    assert len(pairs.attention) == 2
    shifted = study.dense.clone()
    norms = [node for node in shifted.graph if node.op_type == "LayerNormalization"]
    first, last = norms[0].outputs[0], norms[-1].outputs[0]
    first.name, last.name = last.name, first.name
    assert find_pairs(study.dense, shifted).hidden == ()


def test_padding_changes_no_loss(study: Study, narrower: Cut) -> None:
    """A batch's losses are the means of those of its samples, alone and without padding."""
    student = GraphModule(narrower(study.dense, range(16)), ["sentence_embedding", *STATES])
    teacher = GraphModule(study.dense, ["sentence_embedding", *STATES])
    weights = Weights(1.0, 1.0, 0.0, 0.0, 2.0)
    pairs = Pairs(("sentence_embedding",), STATES, ())
    scales = dict.fromkeys(("sentence_embedding", *STATES), 0.5)

    def of(samples: Samples) -> dict[str, float]:
        feed = to_torch(collate(samples), torch.device("cpu"))
        aim = Target(teacher(feed), scales, feed["attention_mask"], None)
        return {n: float(v.detach()) for n, v in losses(student(feed), aim, pairs, weights).items()}

    batch = of(study.held)
    alone = [of(Samples([feed])) for feed in study.held.feeds]
    for name, value in batch.items():
        assert value == pytest.approx(np.mean([one[name] for one in alone]), rel=1e-4)


STATES = ("encoder.layer.0.output.LayerNorm", "encoder.layer.1.attention.output.LayerNorm")


def test_equal_logits_lose_nothing() -> None:
    """KL is 0 for the teacher's own logits, and counts T squared."""
    logits = torch.tensor([[2.0, 0.0, -1.0]])
    pairs = Pairs(("logits",), (), ())
    aim = Target({"logits": logits}, {"logits": 1.0}, None, torch.tensor([0]))
    found = losses({"logits": logits}, aim, pairs, Weights(1.0, 0.0, 0.0, 1.0, 2.0))
    assert float(found["outputs"]) == pytest.approx(0, abs=1e-6)
    assert float(found["labels"]) == pytest.approx(float(-logits.log_softmax(1)[0, 0]))
    far = losses({"logits": -logits}, aim, pairs, Weights(1.0, 0.0, 0.0, 0.0, 2.0))
    p, q = (logits / 2).softmax(1), (-logits / 2).softmax(1)
    assert float(far["outputs"]) == pytest.approx(4 * float((p * (p / q).log()).sum()), rel=1e-5)

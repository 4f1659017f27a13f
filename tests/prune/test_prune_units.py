"""A tiny encoder is pruned: by ratios, a threshold, layers, budgets; mistakes are one line."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile import engines, target
from edgecompile.data.source import Source, Stretch
from edgecompile.errors import PruneError
from edgecompile.evaluate.accuracy import signal
from edgecompile.narrow.meters import size_meter
from edgecompile.narrow.prune_units import Pruned, prune_units
from edgecompile.narrow.spend_on_target import Aim
from edgecompile.parts import Part
from edgecompile.plan import FLOAT
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.walk_groups import norms_of
from edgecompile.quantize.decide_plan import decide_plan
from edgecompile.quantize.observe_ranges import observe_ranges
from edgecompile.recipe import PruneTable, QuantizeTable
from edgecompile.session import answer, session
from edgecompile.stages import lower
from edgecompile.target import REFERENCE
from edgecompile.trace import Trace

Feed = dict[str, np.ndarray]
Encoder = Callable[..., ir.Model]
HOST = "x86-64"


def _feeds(model: ir.Model, count: int, seed: int) -> list[Feed]:
    random = np.random.default_rng(seed)
    names = [str(value.name) for value in model.graph.inputs]
    found = []
    for _ in range(count):
        shape = (1, int(random.integers(4, 12)))
        arrays = {"input_ids": random.integers(5, 100, shape)}
        found.append({n: arrays.get(n, np.full(shape, int("mask" in n))) for n in names})
    return found


def _run(model: ir.Model, feeds: list[Feed]) -> list[list[Any]]:
    return answer(session(lower(model, FLOAT, REFERENCE)), feeds)


def _prune(model: ir.Model, aim: Aim | None = None, count: int = 160, **wishes: Any) -> Pruned:
    feeds = _feeds(model, count, 0)
    source = Source("made", Path(), lambda limit: limit, lambda a, b: iter(feeds[a:b]))
    data: Any = SimpleNamespace(repair=Stretch(source, 0, count), calibration=None)
    return prune_units(model, Part("", model), data, PruneTable(**wishes), Trace(), aim)


def _aim(model: ir.Model, name: str = HOST) -> Aim:
    feed = {n: np.resize(a, (1, 32)) for n, a in _feeds(model, 1, 1)[0].items()}
    return Aim(target.load(name), QuantizeTable(), feed, 32)


def _lost(dense: ir.Model, narrow: ir.Model) -> float:
    """Return what is lost on samples that pruning did not see."""
    feeds = _feeds(dense, 40, 9)
    return 1 - signal(_run(narrow, feeds), _run(dense, feeds), feeds)


@pytest.mark.parametrize("wishes", [{"ffn": 0.25}, {"heads": 0.25}, {"ffn": 0.5, "heads": 0.5}])
def test_ratios_are_exact_and_repair_pays(encoder: Encoder, wishes: dict[str, float]) -> None:
    """Of 2 x 64 channels and 2 x 4 heads the wished share goes; repaired, less is lost."""
    model = encoder()
    pruned = _prune(model, **wishes)
    for kind, key in (("channels", "ffn"), ("heads", "heads")):
        rows = [row for row in pruned.table["groups"].values() if row["kind"] == kind]
        kept, units = (sum(row[name] for row in rows) for name in ("kept", "units"))
        assert kept == (1 - wishes.get(key, 0)) * units
    groups = {g.name: g.units for g in find_groups(pruned.model).found}
    assert all(groups[name] == row["kept"] for name, row in pruned.table["groups"].items())
    assert _lost(model, pruned.model) < _lost(model, _prune(model, repair=False, **wishes).model)


def test_the_curve_falls_to_what_was_chosen(encoder: Encoder) -> None:
    """Less is lost where more stays; what was chosen is one of its points, and was measured."""
    curve = _prune(encoder(), ffn=0.5).table["curve"]
    losses = [point["loss"] for point in curve["points"]]
    assert losses == sorted(losses)
    assert losses[0] == pytest.approx(0, abs=1e-9)
    chosen = curve["chosen"]
    assert {"cost": chosen["cost"], "loss": chosen["loss"]} in curve["points"]
    assert chosen["cost"] == 0.5
    assert 0 < chosen["measured_loss"] < 1


def test_a_threshold_keeps_what_is_as_large(encoder: Encoder) -> None:
    """||w|| >= T stays, be it in whichever group; no samples say so."""
    model = encoder()
    groups = find_groups(model).found
    norms = {group.name: norms_of(model, group) for group in groups}
    threshold = float(np.median(np.concatenate(list(norms.values()))))
    pruned = _prune(model, threshold=threshold, importance="magnitude")
    for name, norm in norms.items():
        wanted = np.flatnonzero(norm >= threshold).tolist() or [int(norm.argmax())]
        assert pruned.keep[name] == wanted


def test_the_layer_that_harms_least_goes(encoder: Encoder) -> None:
    """One whose last Linears are zero does nothing but normalise: it goes first."""
    model = encoder(num_hidden_layers=3)
    for name, value in model.graph.initializers.items():
        last = "layer.1.attention.output.dense" in name or "layer.1.output.dense" in name
        if last and value.const_value is not None:
            value.const_value = ir.Tensor(np.zeros_like(value.const_value.numpy()))
    pruned = _prune(model, layers=1)
    assert [row["layer"] for row in pruned.table["layers"]] == ["encoder.layer.1"]
    assert not [name for name in pruned.model.graph.initializers if "layer.1." in name]
    with pytest.raises(PruneError, match="layers = 3: at most 2 of 3 can go"):
        _prune(model, layers=3)


@pytest.mark.parametrize("name", [HOST, f"{HOST}:openvino"])
def test_a_size_holds_for_the_artifact_that_is_written(
    encoder: Encoder, tmp_path: Path, name: str
) -> None:
    """With the plan of real samples, the artifact has the bytes that were foretold, to 1 %."""
    if name.endswith("openvino"):
        pytest.importorskip("openvino")
    model, board = encoder(intermediate_size=256), target.load(name)
    (dense,) = size_meter(board, QuantizeTable()).measure([model], {})
    limit = int(0.9 * dense)
    pruned = _prune(model, _aim(model, name), size=f"{limit} B")
    reference = lower(pruned.model, FLOAT, REFERENCE)
    plan = decide_plan(pruned.model, observe_ranges(reference, _feeds(model, 20, 3)))
    lowered = lower(pruned.model, engines.fit_plan(plan, board), board)
    files = engines.engine(board.engine).write(lowered, tmp_path, {})
    written = sum((tmp_path / file).stat().st_size for file in files)
    budget = pruned.table["budget"]
    assert budget["kind"] == "measured"
    assert budget["reached"] <= limit
    assert written == pytest.approx(budget["reached"], rel=0.01)
    assert budget["predicted"] == pytest.approx(budget["reached"], rel=0.01)


def test_time_that_is_counted_is_met_exactly(encoder: Encoder) -> None:
    """A target that this host cannot run is modelled by what is multiplied, and says so."""
    model = encoder(intermediate_size=256)
    board = "raspberry-pi-5" if "x86" in target.load(HOST).isa else HOST
    pruned = _prune(model, _aim(model, board), latency=0.7)
    budget = pruned.table["budget"]
    assert budget["kind"] == "modelled"
    assert budget["unit"] == "multiply-accumulates"
    assert budget["reached"] <= 0.7 * budget["dense"]
    assert budget["reached"] == pytest.approx(budget["predicted"])
    assert {row["kind"] for row in budget["parts"]} == {"heads", "channels"}


def test_time_is_measured_where_the_target_runs(encoder: Encoder) -> None:
    """Each part of the table is timed; more heads or channels take longer."""
    model = encoder(intermediate_size=1024, hidden_size=64)
    pruned = _prune(model, _aim(model), latency=0.9)
    budget = pruned.table["budget"]
    assert budget["kind"] == "measured"
    assert budget["unit"] == "ms"
    (row,) = [row for row in budget["parts"] if row["kind"] == "channels"]
    times = list(row["cost_by_units_kept"].values())
    assert times[-1] > 1.2 * times[0]
    assert budget["reached"] <= 0.9 * budget["dense"]


def test_mistakes_are_one_line_with_the_way_out(encoder: Encoder) -> None:
    """A ratio that takes all heads of a layer, a budget out of reach, one without a target."""
    model = encoder()
    with pytest.raises(PruneError, match=r"heads = 0\.9: at most 0\.750 can be removed"):
        _prune(model, heads=0.9)
    with pytest.raises(PruneError, match=r"size = \"1 kB\" cannot be met .* nearest .*\d+ kB"):
        _prune(model, _aim(model), size="1 kB")
    with pytest.raises(PruneError, match="are of a target"):
        _prune(model, latency=0.5)


def test_a_graph_without_groups_says_why() -> None:
    """Each candidate with its reason."""
    x, y = (
        ir.Value(name=name, shape=ir.Shape([1, None, 8]), type=ir.TensorType(ir.DataType.FLOAT))
        for name in "xy"
    )
    array = ir.tensor(np.eye(8, dtype=np.float32), name="w")
    weight = ir.Value(name="w", shape=ir.Shape([8, 8]), type=ir.TensorType(ir.DataType.FLOAT),
                      const_value=array)  # fmt: skip
    node = ir.node("MatMul", [x, weight], name="w", outputs=[y])
    graph = ir.Graph([x], [y], nodes=[node], initializers=[weight], opset_imports={"": 23},
                     name="one")  # fmt: skip
    model = ir.Model(graph, ir_version=11)
    with pytest.raises(PruneError, match=r"ffn = 0\.5: no channels can be cut \(w: .+\)"):
        _prune(model, ffn=0.5)
    with pytest.raises(PruneError, match=r"neither channels nor heads can be cut \(w: .+\)"):
        _prune(model, _aim_of_nothing(), latency=0.5)


def _aim_of_nothing() -> Aim:
    return Aim(target.load(HOST), QuantizeTable(), {}, 1)

"""Each way of telling which units go first, on cases whose answer is known."""

import itertools
import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.errors import MissingRuntimeError, PruneError
from edgecompile.prune.fit_weights import normal_equations
from edgecompile.prune.importances import importance, known, observer
from edgecompile.prune.moments import Moments
from edgecompile.prune.units import Reader, Units, rows_of


def _units(x: np.ndarray, weight: np.ndarray, block: int = 1, kind: str = "channels") -> Units:
    """Return units that a Linear reads: x [tokens, units * block], weight [.., out]."""
    x, weight = x.astype(np.float32), weight.astype(np.float32)
    moments = Moments(*weight.shape, centred=False)
    moments.add(x, x @ weight)
    fit = normal_equations(moments, weight)
    norms = np.sqrt(np.square(weight).reshape(len(weight) // block, -1).sum(axis=1))
    return Units(kind, block, norms, [Reader("reader", weight, moments, fit)])


def test_all_are_known_by_their_files() -> None:
    """And none but the gradient must see the whole model."""
    assert {"activation", "frequency", "gradient", "magnitude", "second-order"} <= set(known())
    assert [name for name in known() if observer(name)] == ["gradient"]


def test_magnitude_ranks_by_weights_alone() -> None:
    """However large the activations are."""
    units = _units(np.ones((50, 4)) * [9, 1, 5, 2], np.diag([1.0, 4.0, 2.0, 3.0]))
    assert importance("magnitude")(units).tolist() == [0, 2, 3, 1]


def test_activation_ranks_by_what_is_added() -> None:
    """E[x^2] |w|^2: 81, 16, 100, 36."""
    units = _units(np.ones((50, 4)) * [9, 1, 5, 2], np.diag([1.0, 4.0, 2.0, 3.0]))
    assert importance("activation")(units).tolist() == [1, 3, 0, 2]


def test_frequency_counts_how_often_a_channel_fires() -> None:
    """Not how strongly; heads always fire, and are refused."""
    x = np.array([[1, 0, 1, 0], [1, 0, 0, 0], [1, 9, 0, -1], [1, 0, 1, -9.0]])
    assert importance("frequency")(_units(x, np.eye(4))).tolist() == [3, 1, 2, 0]
    with pytest.raises(PruneError, match="a head always fires; give heads = 0"):
        importance("frequency")(_units(x, np.eye(4), 2, "heads"))


def test_second_order_drops_what_another_replaces() -> None:
    """Of two equal units one goes first, though both are large; the weights alone say neither."""
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 4))
    x[:, 2] = x[:, 0]
    order = importance("second-order")(_units(x, np.diag([5.0, 1.0, 5.0, 2.0])))
    assert order[0] in (0, 2)
    assert order[1] == 1


def _choices(count: int, size: int) -> Iterator[np.ndarray]:
    return (np.array(choice) for choice in itertools.combinations(range(count), size))


@pytest.mark.parametrize("block", [1, 3])
@pytest.mark.parametrize("seed", range(5))
def test_second_order_is_brute_force(seed: int, block: int) -> None:
    """The first unit to go is the one without which a new fit explains most."""
    random = np.random.default_rng(seed)
    mix = random.normal(size=(6 * block, 6 * block))
    units = _units(random.normal(size=(300, 6 * block)) @ mix, random.normal(size=(6 * block, 5)),
                   block)  # fmt: skip
    fit = units.readers[0].fit
    explained = {tuple(kept): fit.explained(rows_of(kept, block))[-1] for kept in _choices(6, 5)}
    best = max(explained, key=lambda kept: explained[kept])
    assert set(range(6)) - set(best) == {int(importance("second-order")(units)[0])}


def test_what_stays_is_not_ranked() -> None:
    """With a number that stays, the first ones are the same ones, in the same order."""
    random = np.random.default_rng(0)
    units = _units(random.normal(size=(400, 80)), random.normal(size=(80, 5)))
    whole = importance("second-order")(units)
    some = importance("second-order")(replace(units, stay=60))
    assert some[:20].tolist() == whole[:20].tolist()
    assert some[20:].tolist() == sorted(whole[20:])


def test_gradients_without_torch_are_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the extra that brings torch."""
    monkeypatch.setitem(sys.modules, "torch", None)
    observe = observer("gradient")
    assert observe is not None
    model = ir.Model(ir.Graph([], [], nodes=[], name="none"), ir_version=11)
    with pytest.raises(MissingRuntimeError, match=r"pip install 'edgecompile\[distill\]'"):
        observe(model, [], [])


def test_what_was_observed_is_ranked() -> None:
    """The gradient's ranking is that of the scores that it gave."""
    units = replace(_units(np.ones((9, 3)), np.eye(3)), observed=np.array([2.0, 0.5, 1.0]))
    assert importance("gradient")(units).tolist() == [1, 2, 0]

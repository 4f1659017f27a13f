"""A model that is walked piece by piece gives what it gives whole; nothing is left on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import pytest

from edgecompile.data.feed import valid_tokens
from edgecompile.graph import linears
from edgecompile.plan import FLOAT
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.moments import Moments
from edgecompile.prune.remove_units import remove_units
from edgecompile.prune.segments import Piece, Store, find_cuts
from edgecompile.prune.walk_groups import Walk, find_stops
from edgecompile.session import answer, session
from edgecompile.stages import lower
from edgecompile.target import REFERENCE
from edgecompile.valid_rows import valid_rows

Encoder = Callable[..., ir.Model]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty folder."""
    path = tmp_path / "walk"
    path.mkdir()
    return path


def _lower(model: ir.Model) -> ir.Model:
    return lower(model, FLOAT, REFERENCE)


@pytest.fixture
def feeds(encoder: Encoder, tokens: Any) -> list[dict[str, np.ndarray]]:
    """Return samples of several lengths, padded ones too."""
    model = encoder(name="fed")
    return [tokens(model, 1 + length % 2, length) for length in (4, 7, 7, 9, 3)]


@pytest.mark.parametrize("family", ["bert", "distilbert", "roberta"])
def test_pieces_give_what_the_whole_gives(
    encoder: Encoder, tokens: Any, tmp_path: Path, family: str
) -> None:
    """From cut to cut, tensors kept on disk between: the last piece gives the model's answers."""
    model = _lower(encoder(family))
    samples = [tokens(model, 1, length) for length in (4, 7, 9)]
    stops = find_stops(encoder(family, name="again"), find_groups(model).found)
    cuts = find_cuts(model.graph, [stop.reads for stop in stops])
    names = [str(value.name) for value in model.graph.outputs]
    before = Store(tmp_path / "start", [])
    for number, cut in enumerate([*cuts, names]):
        after = Store(tmp_path / str(number), cut)
        piece = Piece(model, before.types, [name for name in cut if name not in before.names])
        pairs = zip(samples, before.read(), strict=False)
        after.write(kept | piece({**feed, **kept}, 1) for feed, kept in pairs)
        before = after
    for found, wanted in zip(before.read(), answer(session(model), samples), strict=True):
        for name, array in zip(names, wanted, strict=True):
            np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)


def test_a_walk_sees_what_the_models_compute(
    encoder: Encoder, feeds: list[dict[str, np.ndarray]], folder: Path
) -> None:
    """At each stop: moments of what the narrower model reads and the dense one gives, no padding.

    Afterwards no file is left.
    """
    model = encoder()
    stops = find_stops(model, find_groups(model).found)
    walk = Walk(model, stops, _lower, feeds, folder)
    seen = 0
    for stop, units in walk:
        for reader, found in zip(stop.readers, units.readers, strict=True):
            wanted = _moments(model, walk.model, feeds, stop, reader)
            np.testing.assert_allclose(found.moments.xx, wanted.gram(), rtol=1e-3, atol=1e-3)
            np.testing.assert_allclose(found.moments.xy, wanted.cross(), rtol=1e-3, atol=1e-3)
            seen += 1
        walk.keep[stop.group.name] = range(stop.group.units - 1)
        mine = {stop.group.name: walk.keep[stop.group.name]}
        walk.model = remove_units(walk.model, [stop.group], mine)
    assert seen == 4
    assert not list(folder.iterdir())


def _moments(dense: ir.Model, own: ir.Model, feeds: Any, stop: Any, reader: Any) -> Moments:
    """Compute a reader's moments from both models, run whole."""
    linear = next(x for x in linears(own.graph) if x.name == reader.name)
    target = stop.total.get(reader.name, str(reader.y.name))
    beside = stop.beside.get(reader.name)
    dense_run = session(_lower(dense), outputs=[target])
    own_run = session(_lower(own), outputs=[str(linear.x.name), *([beside] if beside else [])])
    moments = Moments(linear.weight.shape[0], linear.weight.shape[1], centred=False)
    for feed in feeds:
        (y,) = dense_run.run([target], feed)
        (x,) = own_run.run([str(linear.x.name)], feed)
        y = y - own_run.run([beside], feed)[0] if beside else y
        valid = valid_tokens(feed)
        moments.add(valid_rows(x, valid), valid_rows(y, valid))
    moments.means()
    return moments


def test_disk_holds_two_cuts_at_most(
    encoder: Encoder, feeds: list[dict[str, np.ndarray]], folder: Path
) -> None:
    """Samples are read in turn and cuts removed behind: neither memory nor disk adds up."""
    model = encoder()
    stops = find_stops(model, find_groups(model).found)
    walk = Walk(model, stops, _lower, feeds, folder)
    for stop, _units in walk:
        assert len(list(folder.iterdir())) <= 3  # both models' cut, and the next dense one
        walk.keep[stop.group.name] = range(stop.group.units - 1)
        mine = {stop.group.name: walk.keep[stop.group.name]}
        walk.model = remove_units(walk.model, [stop.group], mine)

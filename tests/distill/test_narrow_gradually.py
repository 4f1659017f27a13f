"""A student that loses its units while it is trained."""

import json
from collections.abc import Callable
from pathlib import Path

import onnx_ir as ir
import pytest

from edgecompile import recipe as recipes
from edgecompile.narrow.distill_model import distill
from edgecompile.narrow.narrow_gradually import RAMP, removed_at
from edgecompile.prune.find_groups import find_groups
from edgecompile.trace import Trace

pytestmark = pytest.mark.exporters


def test_units_go_fast_first_and_all_before_the_end() -> None:
    """Nothing is gone at the start, half of it long before half of the ramp, all at its end."""
    shares = [removed_at(step / 100) for step in range(101)]
    assert shares[0] == 0
    assert shares == sorted(shares)
    assert removed_at(RAMP / 4) > 0.5
    assert removed_at(RAMP) == shares[-1] == 1


def test_what_the_recipe_wants_removed_is_gone_when_training_ends(
    study: Callable[..., Path],
) -> None:
    """The training begins with the dense model and ends with half of its FFN channels."""
    path = study(steps=20, narrow_every=4, evaluate_every=20, checkpoint_every=20)
    text = path.read_text().replace('start = "narrow.onnx"\n', "")
    path.write_text(f"{text}\n[prune]\nffn = 0.5\nsamples = 32\n")
    recipe = recipes.read(path)
    distilled = distill(recipe, Trace(), lambda _moment: None)
    start, end = (ir.load(distilled.folder / f"{name}.onnx") for name in ("start", "student"))
    whole, left = (
        sum(group.units for group in find_groups(model).found if group.kind == "channels")
        for model in (start, end)
    )
    assert left == whole // 2
    rows = (distilled.folder / "log.jsonl").read_text().splitlines()
    assert json.loads(rows[-1])["step"] == 20

"""A bundle's instructions on its emulated board: exact, the same again, and each operator's own."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from edgecompile import pipeline
from edgecompile.cli.main import cli
from edgecompile.counts.build_plugin import compiler_of
from edgecompile.counts.emulated_numbers import check_dot
from edgecompile.emulate.userland import open_userland
from edgecompile.errors import EmulationError, GateError
from edgecompile.recipe import GateTable, ProfileTable, Recipe, ShapesTable


@pytest.mark.slow
@pytest.mark.parametrize("board", ["raspberry-pi-5:onnxruntime", "raspberry-pi-5"])
def test_profile_emulate_counts_the_products_that_the_shapes_say(
    board: str, checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """Dot products alone make the int8 multiply-accumulates, as many as the shapes have."""
    try:
        open_userland("aarch64")
        compiler_of()
    except EmulationError as error:
        pytest.skip(str(error))
    wishes = Recipe(
        profile=ProfileTable((16,), 1), gate=GateTable(0.8, 0.8), shapes=ShapesTable(buckets=(16,))
    )
    model = checkpoint(sentence_transformers=True)
    trace = pipeline.Trace()
    (built,) = pipeline.build(model, [board], tmp_path / "dist", wishes, trace)
    done = CliRunner().invoke(cli, ["profile", str(built.folder), "--emulate", "--json"])
    assert done.exit_code == 0, done.output
    profile = json.loads((built.folder / "profile.json").read_text())
    found = {n["name"]: n for n in profile["numbers"] if n["kind"] == "emulated"}
    macs = found["int8_macs"]
    assert macs["value"] == macs["by_shapes"]
    assert found["dot_instructions"]["value"] * 16 >= macs["value"] > 0
    assert found["instructions"]["difference"] <= 0.2  # a tiny model: MiniLM differs by 0.01 %
    one, four = (n for n in profile["numbers"] if n["name"] == "latency")
    assert (one["kind"], four["value"]) == ("modelled", None)
    assert 0 < one["low"] < one["value"] < one["high"]
    rows = [r for r in profile["operators"]["operators"] if "int8_macs_by_shapes" in r]
    assert sum(r["int8_macs_by_shapes"] for r in rows) == macs["value"]
    if board.endswith("onnxruntime"):
        assert all(r["int8_macs"] == r["int8_macs_by_shapes"] for r in rows)
        assert all(r["instructions"] > 0 for r in profile["operators"]["operators"])


def test_int8_without_dot_products_fails_where_the_board_has_them() -> None:
    """Float artifacts, and boards without, pass."""
    counts = {"dot": 0, "mmla": 0, "sve": 0}
    with pytest.raises(GateError, match="executes no dot product"):
        check_dot("pi", ["asimd", "asimddp"], ["float", "int8"], counts)
    check_dot("pi", ["asimd", "asimddp"], ["float"], counts)
    check_dot("pi", ["asimd"], ["int8"], counts)
    check_dot("pi", ["asimd", "asimddp"], ["int8"], counts | {"dot": 1})

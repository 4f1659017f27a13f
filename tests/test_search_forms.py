"""Graph forms that are timed: the fastest is kept, the file's where none is clearly faster."""

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from edgecompile import pipeline, target
from edgecompile.recipe import GateTable, ProfileTable, Recipe
from edgecompile.search_forms import MARGIN, search_forms, stated_forms
from edgecompile.target import Target, forms_of

BOARD = target.load("x86-64")
QUICK = Recipe(profile=ProfileTable((8,), 3), gate=GateTable(0.9, 0.5))


def emit(variant: Target, folder: Path) -> Path:
    """Write down which forms a variant has."""
    path = folder / "model.onnx"
    path.write_text(f"{variant.forms.attention} {variant.forms.gelu}")
    return path


def clock(**ms: float) -> Callable[[Mapping[str, Path]], Mapping[str, float]]:
    """Return a clock that adds up what each form takes."""

    def measure(artifacts: Mapping[str, Path]) -> Mapping[str, float]:
        texts = {name: path.read_text().split() for name, path in artifacts.items()}
        return {name: sum(ms[form] for form in forms) for name, forms in texts.items()}

    return measure


def test_the_fastest_of_each_kind_is_kept(tmp_path: Path) -> None:
    """Later kinds are tried with the best of the earlier ones."""
    times = clock(packed=1.0, operator=5.0, erf=1.0, tanh=3.0)
    found, rows = search_forms(BOARD, tmp_path, emit, times)
    assert (found.forms.attention, found.forms.gelu) == ("packed", "erf")
    assert [(row["kind"], row["form"], row["why"]) for row in rows] == [
        ("attention", "packed", "faster here"),
        ("gelu", "erf", "faster here"),
    ]
    assert rows[0]["ms"] == {"packed": 4.0, "operator": 8.0}
    assert rows[1]["ms"] == {"erf": 2.0, "tanh": 4.0}


def test_noise_changes_nothing(tmp_path: Path) -> None:
    """A form that is hardly faster is not chosen: the file's stays."""
    less = 1.0 - MARGIN / 2
    times = clock(packed=less, operator=1.0, erf=less, tanh=1.0)
    found, rows = search_forms(BOARD, tmp_path, emit, times)
    assert found.forms == BOARD.forms
    assert {row["why"] for row in rows} == {"the target's file; none is faster here"}


@pytest.mark.parametrize("name", target.names())
def test_a_build_says_who_chose_its_forms(name: str) -> None:
    """Kinds with one form are no choice."""
    board = target.load(name)
    rows = stated_forms(board)
    assert {row["kind"] for row in rows} == {
        kind for kind, known in forms_of(board.engine).items() if len(known) > 1
    }
    assert all(row["why"] == "the target's file" for row in rows)


def test_a_real_build_for_the_fastest_measures_its_forms(
    checkpoint: Callable[..., Path], tmp_path: Path
) -> None:
    """The manifest holds milliseconds of every form of the engine that was kept."""
    trace = pipeline.Trace()
    (bundle,) = pipeline.build(checkpoint(), ["x86-64:fastest"], tmp_path / "dist", QUICK, trace)
    for row in bundle.manifest["forms"]:
        known = forms_of(bundle.manifest["engine"])[row["kind"]]
        assert set(row["ms"]) == set(known)
        assert row["form"] in known
        assert all(ms > 0 for ms in row["ms"].values())

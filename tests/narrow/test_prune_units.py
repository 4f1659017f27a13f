"""Pruning as a recipe asks for it: its ratios are met, and its table says what was cut."""

from collections.abc import Callable
from pathlib import Path

from edgecompile.data.dataset import choose_data
from edgecompile.export.read_model import export, find_source
from edgecompile.narrow.prune_units import prune_units
from edgecompile.parts import Part
from edgecompile.prune.find_groups import find_groups
from edgecompile.recipe import PruneTable, Recipe
from edgecompile.trace import Trace


def test_the_table_says_what_each_group_keeps(checkpoint: Callable[..., Path]) -> None:
    """The graph has as many units; of each kind, the share that was asked for is gone."""
    source = find_source(checkpoint(num_hidden_layers=3))
    recipe = Recipe(prune=PruneTable(ffn=0.5, heads=0.25, samples=16))
    model = export(source)
    data = choose_data(recipe, model, source.folder, 32)
    pruned = prune_units(model, Part("", model), data, recipe.prune, Trace())
    table = pruned.table["groups"]
    left = {group.name: group.units for group in find_groups(pruned.model).found}
    assert {name: row["kept"] for name, row in table.items()} == left
    assert left == {name: len(kept) for name, kept in pruned.keep.items()}
    for kind, share in (("channels", 0.5), ("heads", 0.75)):
        rows = [row for row in table.values() if row["kind"] == kind]
        assert sum(row["kept"] for row in rows) == share * sum(row["units"] for row in rows)
        assert all(row["kept"] <= row["units"] for row in rows)

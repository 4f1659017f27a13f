"""What is left of each group is counted where it is read."""

from collections.abc import Callable

import onnx_ir as ir

from edgecompile.prune.compare_widths import compare_widths
from edgecompile.prune.find_groups import find_groups
from edgecompile.prune.find_layers import find_layers
from edgecompile.prune.remove_layers import remove_layers
from edgecompile.prune.remove_units import remove_units

FFN = "encoder.layer.{}.intermediate.dense"
HEADS = "encoder.layer.{}.attention"


def test_units_are_counted(encoder: Callable[..., ir.Model]) -> None:
    """Heads as heads, also where one is left, which could not be pruned further."""
    dense = encoder()
    groups = find_groups(dense).found
    narrow = remove_units(dense, groups, {FFN.format(0): [1, 5, 9], HEADS.format(1): [2]})
    found = compare_widths(dense, narrow)
    assert found[FFN.format(0)] == {"kind": "channels", "units": 64, "kept": 3}
    assert found[FFN.format(1)] == {"kind": "channels", "units": 64, "kept": 64}
    assert found[HEADS.format(0)] == {"kind": "heads", "units": 4, "kept": 4}
    assert found[HEADS.format(1)] == {"kind": "heads", "units": 4, "kept": 1}


def test_a_layer_that_is_gone_keeps_none(encoder: Callable[..., ir.Model]) -> None:
    """Its heads and channels are 0."""
    dense = encoder()
    layers = find_layers(dense)
    found = compare_widths(dense, remove_layers(dense, layers, [layers[1].name]))
    assert [found[FFN.format(n)]["kept"] for n in (0, 1)] == [64, 0]
    assert [found[HEADS.format(n)]["kept"] for n in (0, 1)] == [4, 0]


def test_a_graph_with_other_names_is_not_compared(encoder: Callable[..., ir.Model]) -> None:
    """Nothing is said rather than that all were cut."""
    dense = encoder()
    other = dense.clone()
    for name, value in list(other.graph.initializers.items()):
        del other.graph.initializers[name]
        value.name = f"other.{name}"
        other.graph.register_initializer(value)
    assert compare_widths(dense, other) == {}

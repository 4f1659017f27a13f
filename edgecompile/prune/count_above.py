"""The rule of the literature: a unit stays if ||w|| >= T (Han et al. 2015)."""

from collections.abc import Sequence

import onnx_ir as ir

from edgecompile.prune.group import Group
from edgecompile.prune.walk_groups import norms_of


def count_above(model: ir.Model, groups: Sequence[Group], threshold: float) -> dict[str, int]:
    """Return how many units have a norm of at least the threshold; one stays, whatever its norm.

    ||w|| is the Euclidean norm of all float weights that a unit owns: its columns and biases in the
    Linears that write it, its rows in those that read it.
    """
    norms = {group.name: norms_of(model, group) for group in groups}
    return {name: max(1, int((norm >= threshold).sum())) for name, norm in norms.items()}

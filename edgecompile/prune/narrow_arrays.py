"""Arrays of a dense model, as the narrower one has them: caches lose the heads that went."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from edgecompile.graph import Array
from edgecompile.prune.group import Group, kept_positions


def narrow_arrays(
    groups: Iterable[Group], keep: Mapping[str, Sequence[int]], arrays: Mapping[str, Array]
) -> dict[str, Array]:
    """Return a model's inputs or outputs, by name, without what the cut units own of them."""
    narrow = dict(arrays)
    for group in groups:
        for resize in group.resizes:
            if group.name in keep and resize.value in arrays:
                places = np.flatnonzero(kept_positions(resize.owners, keep[group.name]))
                narrow[resize.value] = np.take(narrow[resize.value], places, resize.axis)
    return narrow


def narrow_answers(
    groups: Iterable[Group],
    keep: Mapping[str, Sequence[int]],
    names: Sequence[str],
    answers: Sequence[Array],
) -> list[Array]:
    """Do the same with a model's answers, in the order of its outputs."""
    return list(narrow_arrays(groups, keep, dict(zip(names, answers, strict=True))).values())

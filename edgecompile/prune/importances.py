"""The ways of telling which units go first, by name: each is a file in `importance/`."""

import importlib
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import onnx_ir as ir

    from edgecompile.data.feed import Feed
    from edgecompile.graph import FloatArray
    from edgecompile.prune.group import Group
    from edgecompile.prune.units import Order, Units

Rank = Callable[["Units"], "Order"]
Observe = Callable[["ir.Model", "Iterable[Group]", "Iterable[Feed]"], "Mapping[str, FloatArray]"]
"""A number for each unit, by group: of the whole dense model, not of a group's readers alone."""


@cache
def known() -> tuple[str, ...]:
    """Return the names, as recipes write them."""
    folder = Path(__file__).with_name("importance")
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules([str(folder)])))


def importance(name: str) -> Rank:
    """Return the function of a known name."""
    rank: Rank = _module(name).rank
    return rank


def observer(name: str) -> Observe | None:
    """Return what an importance must see of the whole model first, if it must."""
    observe: Observe | None = getattr(_module(name), "observe", None)
    return observe


def _module(name: str) -> ModuleType:
    return importlib.import_module(f"edgecompile.prune.importance.{name.replace('-', '_')}")

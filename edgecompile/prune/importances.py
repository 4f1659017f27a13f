"""The ways of telling which units go first, by name: each is a file in `importance/`."""

import importlib
import pkgutil
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgecompile.prune.units import Order, Units

Rank = Callable[["Units"], "Order"]


@cache
def known() -> tuple[str, ...]:
    """Return the names, as recipes write them."""
    folder = Path(__file__).with_name("importance")
    return tuple(sorted(m.name.replace("_", "-") for m in pkgutil.iter_modules([str(folder)])))


def importance(name: str) -> Rank:
    """Return the function of a known name."""
    module = importlib.import_module(f"edgecompile.prune.importance.{name.replace('-', '_')}")
    rank: Rank = module.rank
    return rank

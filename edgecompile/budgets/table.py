"""[budget] of a recipe: what a bundle may cost, for all targets and for each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from edgecompile.errors import RecipeError, UnknownNameError
from edgecompile.tables import fill


@dataclass(frozen=True, slots=True)
class Budget:
    """The limits of one target; None: not limited.

    `size_mb` and `peak_memory_mb` are of 10^6 bytes. `latency_ms` is the median of one inference,
    `latency_vs_float` the share of the float model's that it may take, `energy_mj` of one
    inference in thousandths of a joule. `cosine_min` is a floor for the worst sample.
    `metric_drop` is how far the mean score may lie below float's, which is 1. `npu_share` is a
    floor for the share of the operators' work that runs on the NPU.

    Latency is that of `sequence` tokens, by default the most that were timed, on `threads`, by
    default 1. `pessimistic` judges a modelled number by the worse end of its band: by default it
    does.
    """

    size_mb: float | None = None
    latency_ms: float | None = None
    latency_vs_float: float | None = None
    energy_mj: float | None = None
    cosine_min: float | None = None
    metric_drop: float | None = None
    npu_share: float | None = None
    peak_memory_mb: float | None = None
    sequence: int | None = None
    threads: int | None = None
    pessimistic: bool | None = None

    def limits(self) -> Iterator[tuple[str, float]]:
        """Yield each limit that is set, by its key."""
        for key in LIMITS:
            limit = getattr(self, key)
            if limit is not None:
                yield key, float(limit)


HOW_TO_JUDGE = ("sequence", "threads", "pessimistic")
"""What is no limit."""
FLOORS = ("cosine_min", "npu_share")
"""The limits that a number must reach; of all others it must stay below."""
LIMITS = tuple(f.name for f in fields(Budget) if f.name not in HOW_TO_JUDGE)


@dataclass(frozen=True, slots=True)
class Budgets:
    """`all` is of every target; what a target's own table says goes before it."""

    all: Budget = field(default_factory=Budget)
    targets: Mapping[str, Budget] = field(default_factory=dict)

    def of(self, target: str) -> Budget:
        """Return the budget of a target: all's, then its board's, then its own.

        >>> budgets = Budgets(Budget(size_mb=25), {"x86-64": Budget(size_mb=20, threads=2)})
        >>> budgets.of("x86-64:openvino").size_mb, budgets.of("aarch64").size_mb
        (20, 25)
        """
        budget = self.all
        for name in dict.fromkeys((target.partition(":")[0], target)):
            own = self.targets.get(name, Budget())
            budget = replace(budget, **_given(own))
        return budget


def read_budgets(table: Any, path: Path) -> Budgets:
    """Read [budget] and the tables in it, one a target; `path` is the file that it is from."""
    from edgecompile import target

    if not isinstance(table, dict):
        msg = f"{path}: 'budget' is a table; write [budget] and its keys below"
        raise RecipeError(msg)
    own = {name: value for name, value in table.items() if isinstance(value, dict)}
    known = target.completions()
    targets = {}
    for name, values in own.items():
        if name not in known:
            what = "target"
            raise UnknownNameError(what, name, known, f"{path}, [budget]")
        targets[name] = _read(values, path, f'budget."{name}"')
    rest = {name: value for name, value in table.items() if name not in own}
    return Budgets(_read(rest, path, "budget"), targets)


def budgets_of(manifest: Mapping[str, Any], path: Path) -> Budgets:
    """Return the budgets of the recipe that a manifest was built with; older ones have none."""
    table = manifest["recipe"].get("budget") or {}
    parts = (table.get("all"), table.get("targets")) if isinstance(table, dict) else (None, None)
    if parts == (None, None):
        return Budgets()
    everywhere, targets = (part if isinstance(part, dict) else {} for part in parts)
    own = {k: _without_nulls(v) for k, v in targets.items() if isinstance(v, dict)}
    return read_budgets(_without_nulls(everywhere) | own, path)


def override(budget: Budget, pairs: Mapping[str, float]) -> Budget:
    """Return a budget with other limits, as the command line gives them."""
    return replace(budget, **_given(_read(dict(pairs), Path("--budget"), "budget")))


def _read(values: Mapping[str, Any], path: Path, name: str) -> Budget:
    budget = fill(Budget, values, path, name)
    for key, limit in budget.limits():
        low, high = (-1.0, 1.0) if key in FLOORS else (0.0, 1e300)
        if not low <= limit <= high:  # TOML has nan and inf
            wanted = "lie between -1 and 1" if key in FLOORS else "be 0 or more"
            msg = f"{path}, [{name}] {key}: must {wanted}, found {limit}"
            raise RecipeError(msg)
    for key in ("sequence", "threads"):
        value = getattr(budget, key)
        if value is not None and value < 1:
            msg = f"{path}, [{name}] {key}: must be at least 1"
            raise RecipeError(msg)
    return budget


def _given(budget: Budget) -> dict[str, Any]:
    values = {f.name: getattr(budget, f.name) for f in fields(Budget)}
    return _without_nulls(values)


def _without_nulls(values: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in values.items() if value is not None}

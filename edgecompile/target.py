"""A target is one TOML file in `targets/`: what the compiler must know of one kind of machine."""

import pkgutil
import re
from dataclasses import dataclass
from pathlib import Path

from edgecompile.errors import RecipeError, UnknownNameError
from edgecompile.tables import fill, read_toml


@dataclass(frozen=True, slots=True)
class Forms:
    """Which of several equivalent graph forms the engine runs fastest on this target."""

    attention: str = "packed"
    gelu: str = "erf"


@dataclass(frozen=True, slots=True)
class Target:
    """One board, chip or computer.

    `activation` is the type that the engine's int8 kernels want ("uint8" or "int8"); `weight` is
    "int8", or "int8-pairs" where two products are summed in 16 bits and must not saturate.
    """

    name: str
    description: str
    engine: str
    isa: str
    activation: str
    weight: str
    opset: int
    runtime: str
    cpu_features: tuple[str, ...] = ()
    forms: Forms = Forms()


REFERENCE = Target(
    name="float reference",
    description="the float model in the form that onnxruntime runs fast and exactly",
    engine="onnxruntime",
    isa="any",
    activation="uint8",
    weight="int8",
    opset=23,
    runtime=">=1.24",
    forms=Forms(attention="operator", gelu="erf"),
)
"""What calibration observes and what artifacts are compared with."""

CHOICES = {
    "activation": ("uint8", "int8"),
    "weight": ("int8", "int8-pairs"),
    "attention": ("operator", "packed"),
    "gelu": ("erf", "tanh"),
}
NOT_ENGINES = ("bundle", "smoke")
OLDEST_OPSET, NEWEST_OPSET = 17, 23
"""LayerNormalization came with 17; the canonical graph is written in 23."""


def targets_dir() -> Path:
    """Return `targets/`: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "targets"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "targets"


def names() -> list[str]:
    """Return the names of all targets."""
    return sorted(p.stem for p in targets_dir().glob("*.toml"))


def path_of(name: str) -> Path:
    """Return a target's file."""
    if name not in names():
        kind = "target"
        raise UnknownNameError(kind, name, names())
    return targets_dir() / f"{name}.toml"


def load(name: str) -> Target:
    """Read one target by name."""
    path = path_of(name)
    table = read_toml(path)
    forms = fill(Forms, table.pop("forms", {}), path, "forms")
    target = fill(Target, table, path, given={"name": name, "forms": forms})
    _check(path, target)
    return target


def _check(path: Path, target: Target) -> None:
    from edgecompile import emit

    engines = [m.name for m in pkgutil.iter_modules(emit.__path__) if m.name not in NOT_ENGINES]
    for key, known in {"engine": engines, **CHOICES}.items():
        value = getattr(target.forms if hasattr(target.forms, key) else target, key)
        if value not in known:
            raise UnknownNameError(key, value, known, str(path))
    if not OLDEST_OPSET <= target.opset <= NEWEST_OPSET:
        msg = f"{path}, opset: must lie between {OLDEST_OPSET} and {NEWEST_OPSET}"
        raise RecipeError(msg)
    if not re.fullmatch(r">=\d+\.\d+", target.runtime):
        msg = f"{path}, runtime: must look like '>=1.24', found '{target.runtime}'"
        raise RecipeError(msg)

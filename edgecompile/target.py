"""A target is one TOML file in `targets/`: what the compiler must know of one kind of machine."""

import tomllib
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from edgecompile.errors import RecipeError, UnknownNameError


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
    runtime=">=1.23",
    forms=Forms(attention="operator", gelu="erf"),
)
"""What calibration observes and what artifacts are compared with."""

CHOICES = {
    "activation": ("uint8", "int8"),
    "weight": ("int8", "int8-pairs"),
    "attention": ("operator", "packed"),
    "gelu": ("erf", "tanh"),
}


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
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        msg = f"{path}: not valid TOML: {error}"
        raise RecipeError(msg) from error
    forms = Forms(**_checked(path, Forms, table.pop("forms", {})))
    values = _checked(path, Target, table | {"name": name, "forms": forms})
    values["cpu_features"] = tuple(values.get("cpu_features", ()))
    return Target(**values)


def _checked(path: Path, kind: type[Any], table: dict[str, Any]) -> dict[str, Any]:
    known = {f.name: f for f in fields(kind)}
    for key, value in table.items():
        if key not in known:
            what = "key"
            raise UnknownNameError(what, key, known, str(path))
        if key in CHOICES and value not in CHOICES[key]:
            raise UnknownNameError(key, str(value), CHOICES[key], str(path))
    required = [n for n, f in known.items() if f.default.__class__.__name__ == "_MISSING_TYPE"]
    for key in required:
        if key not in table:
            msg = f"{path}: key '{key}' is missing"
            raise RecipeError(msg)
    return dict(table)

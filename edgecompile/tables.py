"""Tables of a TOML file -> dataclasses; a wrong key, type or choice is named with its place."""

import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, fields
from pathlib import Path
from types import UnionType
from typing import Any, TypeVar, get_args, get_origin, get_type_hints

from edgecompile.errors import RecipeError, UnknownNameError

T = TypeVar("T")

KINDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def read_toml(path: Path) -> dict[str, Any]:
    """Read a TOML file; say what is wrong with it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        msg = f"{path}: cannot read the recipe: {error.strerror}"
        raise RecipeError(msg) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, RecursionError) as error:
        msg = f"{path}: not valid TOML: {error}"
        raise RecipeError(msg) from error


def fill(
    kind: type[T], values: Any, path: Path, name: str = "", given: Mapping[str, Any] | None = None
) -> T:
    """Make a dataclass of a file's table `name`; `given` are fields that the file may not set."""
    place = f"{path}, [{name}]" if name else str(path)
    if not isinstance(values, dict):
        msg = f"{path}: '{name}' is a table; write [{name}] and its keys below"
        raise RecipeError(msg)
    given = given or {}
    hints = {key: hint for key, hint in get_type_hints(kind).items() if key not in given}
    checked: dict[str, Any] = {}
    for key, value in values.items():
        if key not in hints:
            what = "key"
            raise UnknownNameError(what, key, hints, place)
        checked[key] = _checked(f"{place} {key}" if name else f"{path}, {key}", hints[key], value)
    for field in fields(kind):  # type: ignore[arg-type]
        optional = field.default is not MISSING or field.default_factory is not MISSING
        if not optional and field.name not in checked and field.name not in given:
            msg = f"{place}: key '{field.name}' is missing"
            raise RecipeError(msg)
    return kind(**checked, **given)


def _checked(where: str, hint: Any, value: Any) -> Any:
    if get_origin(hint) is UnionType:  # "float | None": TOML has no null, so the key is given
        hint = get_args(hint)[0]
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if not isinstance(value, list):
            msg = f"{where}: must be a list, found {value!r}"
            raise RecipeError(msg)
        return tuple(_checked(where, item, element) for element in value)
    accepted = (int, float) if hint is float else hint
    if not isinstance(value, accepted) or isinstance(value, bool) != (hint is bool):
        msg = f"{where}: must be {KINDS[hint]}, found {value!r}"
        raise RecipeError(msg)
    return value

"""profile.json, read and checked: it may come from anywhere. docs/profile.md says what is in it."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from edgecompile.errors import BundleError

SCHEMA = 2
KINDS = ("measured", "emulated", "modelled", None)
"""How a number was got; None: it was not, and `how` is the reason."""
MOST_BYTES, MOST_ROWS, LONGEST_TEXT = 32 << 20, 20_000, 10_000

TEXTS = ("name", "unit", "how")
"""What every number has, besides `value` and `kind`."""
OPTIONAL: Mapping[str, tuple[type, ...]] = {
    "model": (str,),
    "low": (int, float),
    "high": (int, float),
    "confidence": (int, float),
    "sequence": (int,),
    "phase": (str,),
    "threads": (int,),
    "repeats": (int,),
    "noisy": (bool,),
    "format": (str,),
    "where": (str,),
    "when": (str,),
}
OPERATOR = {"model": str, "layer": str, "does": str, "operator": str, "value": float}
WEIGHT = {"layer": str, "does": str, "format": str, "bytes": int}


def read_profile(path: Path) -> dict[str, Any]:
    """Read a profile.json of schema 1 or 2; raise BundleError, one line, for any other file."""
    try:
        if path.stat().st_size > MOST_BYTES:
            _refuse(path, f"has more than {MOST_BYTES >> 20} MB")
        profile = json.loads(path.read_text(encoding="utf-8"), parse_constant=_no_number)
    except OSError as error:
        _refuse(path, f"cannot be read: {error.strerror}")
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError is a ValueError
        _refuse(path, f"is no valid JSON: {str(error)[:100]}")
    return check_profile(path, profile)


def check_profile(path: Path, profile: Any) -> dict[str, Any]:
    """Return a profile that is sound; keys that this version does not know stay as they are."""
    if not isinstance(profile, dict):
        _refuse(path, "is no table")
    _check_schema(path, profile.get("schema"))
    _text(path, "target", profile.get("target"))
    if not isinstance(profile.get("host"), dict | None):
        _refuse(path, "'host' must be a table or null")
    for number, row in enumerate(_rows(path, "numbers", profile.get("numbers")), 1):
        _check_number(path, f"number {number}", row)
    for row in _rows(path, "weights", profile.get("weights", [])):
        _check_row(path, "weights", row, WEIGHT)
    operators = profile.get("operator_times", {})
    if not isinstance(operators, dict):
        _refuse(path, "'operator_times' must be a table")
    for row in _rows(path, "operator_times", operators.get("rows", [])):
        _check_row(path, "operator_times", row, OPERATOR)
    warnings = profile.get("warnings", [])
    if not isinstance(warnings, list):
        _refuse(path, "'warnings' must be a list")
    for line in warnings:
        _text(path, "warnings", line)
    return profile


def _check_schema(path: Path, schema: Any) -> None:
    if type(schema) is not int or schema < 1:
        _refuse(path, "has no schema number: it is no profile of edgecompile")
    if schema > SCHEMA:
        msg = f"has schema {schema}, this edgecompile reads up to {SCHEMA}: install a newer one"
        _refuse(path, msg)


def _check_number(path: Path, place: str, row: Mapping[str, Any]) -> None:
    for key in TEXTS:
        _text(path, f"{place}, '{key}'", row.get(key))
    kind, value = row.get("kind", ""), row.get("value", "")
    if kind not in KINDS:
        _refuse(path, f"{place}: kind must be measured, emulated, modelled or null")
    if (kind is None and value is not None) or (value is not None and not _is_number(value)):
        _refuse(path, f"{place}: value must be a number, or null where kind is null")
    if value is None and kind is not None and None in (row.get("low"), row.get("high")):
        _refuse(path, f"{place}: without a value there must be low and high, or kind must be null")
    for key, types in OPTIONAL.items():
        given = row.get(key)
        right = isinstance(given, types) and (bool in types or not isinstance(given, bool))
        if given is not None and not right:
            _refuse(path, f"{place}: '{key}' must be {types[-1].__name__}")
        if isinstance(given, str):
            _text(path, f"{place}, '{key}'", given)
    low, high = row.get("low"), row.get("high")
    if value is not None and not (
        (low if low is not None else value) <= value <= (high if high is not None else value)
    ):
        _refuse(path, f"{place}: value must lie between low and high")


def _check_row(path: Path, where: str, row: Mapping[str, Any], kinds: Mapping[str, type]) -> None:
    for key, kind in kinds.items():
        if kind is str:
            _text(path, f"'{where}', '{key}'", row.get(key))
        elif not _is_number(row.get(key)) or row[key] < 0:
            _refuse(path, f"'{where}', '{key}' must be a number, at least 0")


def _rows(path: Path, name: str, value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        _refuse(path, f"'{name}' must be a list of tables")
    if len(value) > MOST_ROWS:
        _refuse(path, f"'{name}' has more than {MOST_ROWS} rows")
    return value


def _text(path: Path, what: str, value: Any) -> None:
    if not isinstance(value, str) or len(value) > LONGEST_TEXT:
        _refuse(path, f"{what} must be a text of at most {LONGEST_TEXT} characters")


def _is_number(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and abs(value) < 1e300 and math.isfinite(value)


def _no_number(word: str) -> NoReturn:
    msg = f"{word} is no number"
    raise ValueError(msg)


def _refuse(path: Path, what: str) -> NoReturn:
    msg = f"{path}: {what}"
    raise BundleError(msg)

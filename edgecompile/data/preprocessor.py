"""A model's preprocessor_config.json, with errors that name the key."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgecompile.errors import DataError, ModelError

FILE = "preprocessor_config.json"
CLASS_KEYS = ("image_processor_type", "feature_extractor_type")


@dataclass(frozen=True, slots=True)
class Preprocessor:
    """What the file says, and over it what its class takes where the file is silent."""

    path: Path
    values: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """Return the class that reads the file, "" where neither it nor config.json tells."""
        names = [self.values.get(key) for key in CLASS_KEYS]
        return next((name for name in names if isinstance(name, str)), "")

    def over(self, defaults: Mapping[str, Any]) -> "Preprocessor":
        """Return it with defaults where a key is missing or null."""
        given = {key: value for key, value in self.values.items() if value is not None}
        return Preprocessor(self.path, {**defaults, **given})

    def flag(self, key: str) -> bool:
        """Return true or false; a key that is missing is false."""
        return bool(self._checked(key, self.values.get(key, False), bool, "true or false"))

    def integer(self, key: str, low: int, high: int) -> int:
        """Return a whole number between two others, both included."""
        value = self._checked(key, self.values.get(key), int, "a whole number")
        return self.within(key, value, low, high)

    def within(self, key: str, value: object, low: int, high: int) -> int:
        """Return a value, if it is a whole number between two others."""
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            msg = f"{self.path}: key '{key}' must lie between {low} and {high}, found {value!r}"
            raise ModelError(msg)
        return value

    def number(self, key: str) -> float:
        """Return a finite number."""
        return self.finite(key, self.values.get(key))

    def finite(self, key: str, value: object) -> float:
        """Return a value, if it is a finite number."""
        if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < 1e30:
            msg = f"{self.path}: key '{key}' must be a number, found {value!r}"
            raise ModelError(msg)
        return float(value)

    def _checked(self, key: str, value: object, kind: type, what: str) -> Any:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            msg = f"{self.path}: key '{key}' must be {what}, found {value!r}"
            raise ModelError(msg)
        return value


def read_preprocessor(folder: Path, what: str) -> Preprocessor:
    """Read preprocessor_config.json beside a model; `what` it is needed for."""
    path = folder / FILE
    if not path.is_file():
        msg = (
            f"{folder}: no {FILE} to read {what} with; put the model's own there, or give model"
            " inputs as --data FILE.npz"
        )
        raise DataError(msg)
    values = _object(path)
    if not any(key in values for key in CLASS_KEYS) and (folder / "config.json").is_file():
        family = _object(folder / "config.json").get("model_type")  # how old files are read
        values |= {CLASS_KEYS[0]: family} if isinstance(family, str) else {}
    return Preprocessor(path, values)


def _object(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        msg = f"{path}: not readable JSON: {error}"
        raise ModelError(msg) from error
    if not isinstance(values, dict):
        msg = f"{path}: not a JSON object"
        raise ModelError(msg)
    return values

"""Plain data on disk and back."""

import json
from pathlib import Path
from typing import Any

VALUE = "value.json"


def write_json(value: Any, folder: Path, name: str = VALUE) -> None:
    """Write plain data: numbers come back the same to the last bit."""
    (folder / name).write_text(json.dumps(value), encoding="utf-8")


def read_json(folder: Path, name: str = VALUE) -> Any:
    """Read it."""
    return json.loads((folder / name).read_text(encoding="utf-8"))

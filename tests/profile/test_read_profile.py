"""profile.json: what a build wrote is read, a newer schema or anything else is one line."""

import json
from pathlib import Path
from typing import Any

import pytest

from edgecompile.errors import BundleError
from edgecompile.profile.read_profile import MOST_BYTES, SCHEMA, read_profile

ROW = {"name": "load", "value": 1.0, "unit": "ms", "kind": "measured", "how": "once"}
GOOD: dict[str, Any] = {"schema": SCHEMA, "target": "x86-64", "host": None, "numbers": [ROW]}
OPERATOR = {"model": "float", "layer": "x", "does": "", "operator": "y", "value": -1}


def written(tmp_path: Path, profile: Any) -> Path:
    """Write a profile."""
    path = tmp_path / "profile.json"
    path.write_text(profile if isinstance(profile, str) else json.dumps(profile), encoding="utf-8")
    return path


def test_schemas_of_this_and_earlier_versions_are_read(tmp_path: Path) -> None:
    """Keys that a later minor version adds are kept."""
    for schema in range(1, SCHEMA + 1):
        given = GOOD | {"schema": schema, "later": 1}
        assert read_profile(written(tmp_path, given)) == given


def test_a_band_may_stand_without_a_value(tmp_path: Path) -> None:
    """A model may know a range alone."""
    given = GOOD | {"numbers": [ROW | {"value": None, "low": 1.0, "high": 2.0}]}
    assert read_profile(written(tmp_path, given)) == given


def test_a_newer_schema_names_both_numbers(tmp_path: Path) -> None:
    """And says what to do."""
    with pytest.raises(BundleError) as error:
        read_profile(written(tmp_path, GOOD | {"schema": SCHEMA + 1}))
    line = f"has schema {SCHEMA + 1}, this edgecompile reads up to {SCHEMA}: install a newer one"
    assert str(error.value) == f"{tmp_path / 'profile.json'}: {line}"


@pytest.mark.parametrize(
    "wrong",
    [
        "",
        "[1]",
        "[" * 100_000,
        '{"schema": NaN}',
        GOOD | {"schema": True},
        GOOD | {"schema": "2"},
        GOOD | {"target": None},
        GOOD | {"target": "x" * 100_000},
        GOOD | {"host": []},
        GOOD | {"numbers": None},
        GOOD | {"numbers": [1]},
        GOOD | {"numbers": [ROW] * 20_001},
        GOOD | {"numbers": [ROW | {"kind": "guessed"}]},
        GOOD | {"numbers": [ROW | {"kind": None}]},
        GOOD | {"numbers": [ROW | {"value": None}]},
        GOOD | {"numbers": [ROW | {"value": None, "low": 1.0}]},
        GOOD | {"numbers": [ROW | {"value": "1"}]},
        GOOD | {"numbers": [ROW | {"value": True}]},
        GOOD | {"numbers": [ROW | {"value": 10**400}]},
        GOOD | {"numbers": [ROW | {"low": 2.0}]},
        GOOD | {"numbers": [ROW | {"high": "2"}]},
        GOOD | {"numbers": [ROW | {"sequence": 1.5}]},
        GOOD | {"numbers": [ROW | {"threads": True}]},
        GOOD | {"numbers": [{"name": "load"}]},
        GOOD | {"weights": [{"layer": "x", "does": "", "format": "int8", "bytes": -1}]},
        GOOD | {"operator_times": [1]},
        GOOD | {"operator_times": {"rows": [OPERATOR]}},
        GOOD | {"warnings": "x"},
        GOOD | {"warnings": [{}]},
    ],
)
def test_anything_else_is_one_line(tmp_path: Path, wrong: Any) -> None:
    """Hostile files too: no traceback, no endless text."""
    with pytest.raises(BundleError) as error:
        read_profile(written(tmp_path, wrong))
    line = str(error.value)
    assert line.startswith(f"{tmp_path / 'profile.json'}: ")
    assert "\n" not in line
    assert len(line) < len(str(tmp_path)) + 300


def test_a_huge_or_missing_file_is_not_read(tmp_path: Path) -> None:
    """Its size is looked at first."""
    path = tmp_path / "profile.json"
    with pytest.raises(BundleError, match="cannot be read"):
        read_profile(path)
    with path.open("wb") as file:
        file.truncate(MOST_BYTES + 1)
    with pytest.raises(BundleError, match="has more than 32 MB"):
        read_profile(path)

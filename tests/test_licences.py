"""Licences: what packages and model cards state."""

from importlib.metadata import distribution
from pathlib import Path

import pytest

from edgecompile.licences import NOT_STATED, licence_in_card, licence_of


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("---\nlanguage: en\nlicense: apache-2.0\n---\n# Model\n", "apache-2.0"),
        ("---\nlicense: 'mit'\n---\n", "mit"),
        ("---\nlanguage: en\n---\nlicense: mit\n", NOT_STATED),
        ("license: mit\n", NOT_STATED),
        ("---\nlicense:\n- mit\n---\n", NOT_STATED),
    ],
)
def test_a_models_licence_is_that_of_its_card(text: str, found: str, tmp_path: Path) -> None:
    """Of the YAML at its head alone."""
    (tmp_path / "README.md").write_text(text)
    assert licence_in_card(tmp_path) == found


def test_a_package_states_its_own() -> None:
    """As an expression, a classifier or a line."""
    assert licence_of(distribution("numpy")).startswith("BSD-3-Clause")
    assert licence_of(distribution("onnx")) == "Apache-2.0"

"""The trade-off as a picture: the same bytes for the same curve, nothing that is fetched or run."""

import re
import sys
from pathlib import Path

import pytest

from edgecompile.narrow.plot_curve import plot_curve

pytestmark = pytest.mark.exporters
CURVE = {
    "unit": "bytes",
    "dense": 2.3e7,
    "points": [{"cost": 2.3e7, "loss": 0.0}, {"cost": 1.5e7, "loss": 0.1}],
    "chosen": {"cost": 1.8e7, "loss": 0.05, "measured_loss": 0.06},
}


def test_it_is_drawn(tmp_path: Path) -> None:
    """An SVG whose words are text, without scripts; only namespaces look like addresses."""
    pytest.importorskip("matplotlib")
    assert plot_curve(CURVE, tmp_path / "a.svg")
    assert plot_curve(CURVE, tmp_path / "b.svg")
    text = (tmp_path / "a.svg").read_text(encoding="utf-8")
    assert text == (tmp_path / "b.svg").read_text(encoding="utf-8")
    assert "what stays, MB" in text
    assert "<script" not in text
    assert not re.search(r"(href|src)=\"(?!#)", text)


def test_without_matplotlib_none_is_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing is written."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert not plot_curve(CURVE, tmp_path / "a.svg")
    assert not list(tmp_path.iterdir())

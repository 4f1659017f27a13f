"""The pages in a real Chromium: nothing is fetched, they fit, a screen reader can read them."""

import importlib.util
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
WAYS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1280, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1280, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 780}},
    "dark phone": {"color_scheme": "dark", "viewport": {"width": 360, "height": 780}},
}
BY_BROWSERS = "scrollable-region-focusable"
"""Browsers put what can be scrolled into the order of the tabulator themselves."""
OPEN = ("index.html", "ci.html", "how-to/rebuild.html", "reference/recipe.html")
OPEN += ("reference/cli.html", "reference/python.html")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the pages as `make docs` does; a link that leads nowhere fails."""
    if importlib.util.find_spec("mkdocs") is None:
        pytest.skip("mkdocs is not installed: make docs")
    place = tmp_path_factory.mktemp("docs") / "site"
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", place],
        cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return place


def test_the_reference_is_made_of_the_code(site: Path) -> None:
    """Commands with options, keys with defaults, targets, classes with their docstrings."""
    pages = {name: (site / f"reference/{name}.html").read_text() for name in ("cli", "python")}
    for word in ("--fail-on", "--emulate", "rebuild"):
        assert word in pages["cli"]
    for word in ("SignatureError", "write_report", "cosine", "&gt;&gt;&gt;"):
        assert word in pages["python"]
    assert "bias_correction" in (site / "reference/recipe.html").read_text()
    assert "ethos-u55-128" in (site / "reference/targets.html").read_text()
    assert "generated:" not in "".join(p.read_text() for p in site.rglob("*.html"))


@pytest.mark.parametrize("way", WAYS)
def test_a_page_fetches_nothing_and_fits(chromium: Any, site: Path, way: str) -> None:
    """Every request is for a file of the site, nothing is complained of, no line runs out."""
    page = chromium.new_context(**WAYS[way]).new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url))
    for name in OPEN:
        page.goto((site / name).as_uri())
        wide = page.evaluate("document.documentElement.scrollWidth")
        assert wide <= WAYS[way]["viewport"]["width"], name
    assert len(told) > len(OPEN)
    assert [line for line in told if not line.startswith(site.as_uri())] == []


@pytest.mark.parametrize("way", WAYS)
def test_a_screen_reader_can_read_it(chromium: Any, site: Path, way: str) -> None:
    """By axe-core."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page = chromium.new_context(**WAYS[way]).new_page()
    for name in OPEN:
        page.goto((site / name).as_uri())
        found = axe.Axe().run(page, options={"rules": {BY_BROWSERS: {"enabled": False}}})
        assert found.violations_count == 0, f"{name}: {found.generate_report()}"

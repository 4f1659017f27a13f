"""The page in a real Chromium: quiet, accessible, readable in light, dark, on a phone, on paper."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from edgecompile.report.html.page import render
from edgecompile.report.html.sections import Shown

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("reports")]
Make = Callable[..., Shown]

LONG = "a.very.long.name/without_a_space" * 6 + "<b>'\" "
WAYS: dict[str, dict[str, Any]] = {
    "light": {"color_scheme": "light", "viewport": {"width": 1200, "height": 900}},
    "dark": {"color_scheme": "dark", "viewport": {"width": 1200, "height": 900}},
    "phone": {"color_scheme": "light", "viewport": {"width": 360, "height": 780}},
    "dark phone": {"color_scheme": "dark", "viewport": {"width": 360, "height": 780}},
}


@pytest.fixture
def page_file(shown: Make, tmp_path: Path) -> Path:
    """Write a page of two bundles, one of them with names that are hard to fit."""
    path = tmp_path / "report.html"
    path.write_text(render([shown(), shown("other", LONG)]), encoding="utf-8")
    return path


def open_page(chromium: Any, path: Path, way: dict[str, Any]) -> tuple[Any, list[str]]:
    """Open a file; return the page, and all that it complains of or asks for."""
    page = chromium.new_context(**way).new_page()
    told: list[str] = []
    page.on("console", lambda message: told.append(message.text))
    page.on("pageerror", lambda error: told.append(str(error)))
    page.on("request", lambda request: told.append(request.url))
    page.goto(path.as_uri())
    return page, told


@pytest.mark.parametrize("way", WAYS)
def test_it_is_quiet_and_accessible_and_fits(chromium: Any, page_file: Path, way: str) -> None:
    """Nothing is fetched or complained of, axe-core finds nothing, no line runs out sideways."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page, told = open_page(chromium, page_file, WAYS[way])
    assert told == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= WAYS[way]["viewport"]["width"]
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    found = axe.Axe().run(page)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("document.documentElement.scrollWidth") <= WAYS[way]["viewport"]["width"]


def test_dark_is_dark_and_charts_follow(chromium: Any, page_file: Path) -> None:
    """The page's own colours are used by the charts too."""
    script = """() => {
        const text = document.querySelector("svg text");
        return [getComputedStyle(document.body).backgroundColor, getComputedStyle(text).fill];
    }"""
    light = open_page(chromium, page_file, WAYS["light"])[0].evaluate(script)
    dark = open_page(chromium, page_file, WAYS["dark"])[0].evaluate(script)
    brightness = [
        [sum(int(n) for n in colour.strip("rgb()").split(",")) for colour in side]
        for side in (light, dark)
    ]
    assert brightness[0][0] > 600 > brightness[0][1] + 200, light
    assert brightness[1][0] < 150 < brightness[1][1] - 150, dark


def test_text_in_charts_can_be_read_on_a_phone(chromium: Any, page_file: Path) -> None:
    """No letter of a chart is smaller than 7 pixels there."""
    page, _ = open_page(chromium, page_file, WAYS["phone"])
    sizes = page.evaluate(
        """() => [...document.querySelectorAll("svg text")].map(text => {
            const svg = text.ownerSVGElement;
            return parseFloat(getComputedStyle(text).fontSize) * svg.getScreenCTM().a;
        })"""
    )
    assert min(sizes) >= 7


def test_it_prints(chromium: Any, page_file: Path) -> None:
    """On paper it is dark on white even for a reader of dark pages, and some pages long."""
    page, _ = open_page(chromium, page_file, WAYS["dark"])
    page.emulate_media(media="print")
    assert page.evaluate("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    paper = page.pdf(format="A4", print_background=True)
    assert paper.startswith(b"%PDF")
    assert 2 <= paper.count(b"/Type /Page\n") + paper.count(b"/Type /Page ") <= 30

"""The page: verdict first, everything in it, nothing from outside, strangers' texts escaped."""

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from html.parser import HTMLParser
from typing import Any

import pytest

from edgecompile.errors import BundleError, MissingRuntimeError
from edgecompile.report.html import page
from edgecompile.report.html.page import render
from edgecompile.report.html.sections import Shown
from edgecompile.report.html.verdicts import of_budget

pytestmark = pytest.mark.usefixtures("reports")
Make = Callable[..., Shown]
HOSTILE = (
    "</title></style><script>alert(1)</script>\"'><img src=x onerror=alert(2)>$a_b$ ]]> -->\x00"
    "模型\u202e"
)


class Tags(HTMLParser):
    """The elements and the attributes of a page."""

    def __init__(self) -> None:
        """Find none yet."""
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Keep it."""
        self.found.append((tag, dict(attrs)))


def tags(html: str) -> list[tuple[str, dict[str, str | None]]]:
    """Return all elements."""
    parser = Tags()
    parser.feed(html)
    return parser.found


def test_the_verdict_is_first_and_all_charts_are_there(shown: Make) -> None:
    """A reader who stops after a line has the answer; who reads on finds each chart once."""
    html = render([shown()])
    assert html.index("Both gates hold") < html.index("Before and after") < html.index("<svg")
    charts = [dict(a)["aria-label"] or "" for tag, a in tags(html) if tag == "svg"]
    for words in (
        "diagonal", "int8 alone", "length, 1 thread", "length, 2 threads", "kind of layer",
        "layer and format", "pruning", "Energy", "Carbon",
    ):  # fmt: skip
        assert sum(words in chart for chart in charts) == 1, (words, charts)
    for text in (
        "the sentence 1",
        "62% saved",
        "Other cases",
        "too noisy",
        "AMD EPYC",
        "ef" * 32,
        ">=1.24",
    ):
        assert text.replace(">", "&gt;") in html


def test_nothing_comes_from_outside(shown: Make) -> None:
    """No script, no address but places in the page itself, and a policy that forbids the rest."""
    html = render([shown(), shown("other")])
    for tag, attributes in tags(html):
        assert tag not in {"script", "img", "link", "iframe", "object", "image", "foreignobject"}
        assert not [key for key in attributes if key.startswith("on") or key == "src"]
        assert (attributes.get("href") or "#").startswith("#"), attributes
    assert "url(http" not in html
    assert "default-src 'none'" in html
    ids = [attributes["id"] for _, attributes in tags(html) if "id" in attributes]
    assert len(ids) == len(set(ids))
    for reference in re.findall(r'(?:url\(|href=")#([^")]+)', html):
        assert reference in ids


def test_hostile_texts_stay_texts(shown: Make) -> None:
    """Whatever a model, a recipe or a bundle is called, the page has the same elements."""
    honest, hostile = render([shown(prefix="x")]), render([shown(prefix=HOSTILE)])
    assert "<script" not in hostile
    assert "<img" not in hostile
    known = {tag for tag, _ in tags(honest)}
    assert {tag for tag, _ in tags(hostile)} <= known | {"wbr"}
    assert "alert(1)" in hostile


@dataclass(frozen=True)
class Missed:
    """What `edgecompile check` says of a limit that does not hold."""

    check: str = "size_mb"
    holds: bool = False
    limit: float = 20.0
    judged: float | None = 23.0
    kind: str | None = "measured"
    how: str = "size of the model's files"


def test_a_failed_gate_is_red_and_first(shown: Make) -> None:
    """One gate that fails turns the headline; a budget's verdict counts as a gate."""
    bundle = shown()
    manifest = bundle.manifest | {"accuracy": bundle.manifest["accuracy"] | {"mean": 0.5}}
    assert "1 of 2 gates fail" in render([replace(bundle, manifest=manifest)])
    html = render([replace(bundle, budget=of_budget([Missed()]))])
    assert "1 of 3 gates fail" in html
    assert "size_mb, budget 20" in html


def test_a_time_that_cannot_be_told_apart_is_said_to_be(shown: Make) -> None:
    """Where intervals overlap, no bundle is called faster."""
    bundle = shown()
    numbers: list[dict[str, Any]] = [
        row | {"low": 0.8, "high": 1.2, "value": 0.97} if row["name"] == "latency_vs_float" else row
        for row in bundle.profile["numbers"]
    ]
    html = render([replace(bundle, profile=bundle.profile | {"numbers": numbers})])
    line = html[html.index("97% of its time") - 400 : html.index("97% of its time")]
    assert "cannot be told" in line


def test_bundles_are_compared(shown: Make) -> None:
    """Each has a row, its change to the first one, and its own section."""
    first, second = shown("old"), shown("new")
    smaller = [
        row | {"value": row["value"] / 2} if row["name"] == "size" else row
        for row in second.profile["numbers"]
    ]
    html = render([first, replace(second, profile=second.profile | {"numbers": smaller})])
    assert "2 bundles compared" in html
    assert "-50%" in html
    assert [a["id"] for t, a in tags(html) if t == "section" and "bundle" in (a.get("class") or "")]
    assert html.count("Both gates hold") == 4


def test_a_target_that_nothing_here_can_time_is_shown_too(shown: Make) -> None:
    """Without a latency the page says why, and draws what there is."""
    bundle = shown()
    rows = [r for r in bundle.profile["numbers"] if r["name"] in ("size", "weight_bytes")]
    why = {"name": "latency_p50", "value": None, "unit": "ms", "kind": None, "how": "it is an ARM"}
    profile = {k: v for k, v in bundle.profile.items() if k != "operator_times"}
    html = render([replace(bundle, profile=profile | {"numbers": [*rows, why]}, samples={})])
    assert "it is an ARM" in html
    assert "layer and format" in html


def test_the_same_bundle_gives_the_same_bytes(shown: Make) -> None:
    """A page can be hashed."""
    assert render([shown()]) == render([shown()])


def test_what_no_build_wrote_is_one_line(shown: Make) -> None:
    """A manifest of wrong types is the bundle's fault, and no traceback."""
    bundle = shown()
    for wrong in ({"accuracy": {}}, {"quantization": {"linears": [1]}}, {"steps": [{}]}):
        with pytest.raises(BundleError, match=r"none that a build wrote$"):
            render([replace(bundle, manifest=bundle.manifest | wrong)])


def test_without_the_extra_the_reason_is_one_line(
    shown: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It names what is missing and the command that brings it."""
    monkeypatch.setattr(page, "PACKAGES", ("jinja2", "no_such_package"))
    with pytest.raises(MissingRuntimeError) as error:
        render([shown()])
    assert str(error.value) == "report needs no_such_package: pip install 'edgecompile[report]'"

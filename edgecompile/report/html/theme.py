"""A matplotlib figure -> SVG that stands in a page: small, and in the page's own colours.

matplotlib knows no CSS variable. So charts are drawn in colours that stand for one, and those are
replaced: the same chart is then right in light, in dark and on paper.
"""

import io
import logging
import re
import warnings
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree as ET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, GRID, CARD = "#010203", "#040506", "#070809", "#0a0b0c"
FLOAT, DYNAMIC, ARTIFACT, BAD = "#0d0e0f", "#101112", "#131415", "#161718"
COLOURS = {
    INK: "ink",
    MUTED: "muted",
    GRID: "grid",
    CARD: "card",
    FLOAT: "float",
    DYNAMIC: "dynamic",
    ARTIFACT: "artifact",
    BAD: "bad",
}
"""The colour that a chart is drawn in, and the CSS variable that it stands for."""
MODELS = {"float": FLOAT, "dynamic_int8": DYNAMIC, "artifact": ARTIFACT}
LABELS = {"float": "float", "dynamic_int8": "dynamic int8", "artifact": "this bundle"}
WIDTH = 380
"""Of a chart in CSS pixels: on a phone it shrinks so little that its text stays readable."""

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "edgecompile",
    "text.parse_math": False,  # a layer's name may hold dollars
    "font.family": "DejaVu Sans",
    "font.size": 11,
    "axes.labelsize": 11,
    "axes.edgecolor": GRID,
    "axes.labelcolor": MUTED,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlecolor": MUTED,
    "axes.unicode_minus": True,
    "text.color": INK,
    "xtick.color": GRID,
    "ytick.color": GRID,
    "xtick.labelcolor": MUTED,
    "ytick.labelcolor": MUTED,
    "grid.color": GRID,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "legend.fontsize": 11,
    "figure.dpi": 72,
}
WORDS = (f"{{{SVG}}}text", f"{{{SVG}}}tspan", f"{{{SVG}}}style")
"""The elements whose text is kept."""
NUMBER = re.compile(r"-?\d+\.\d{2,}")
FONT = re.compile(r"font:\s*(?:(?:bold|italic|\d{3})\s+)*([\d.]+px)[^;]*")
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]")


def new_figure(height: float, width: float = WIDTH) -> "Figure":
    """Return an empty figure of so many CSS pixels; drawn inside `style()`."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width / 72, height / 72), layout="constrained")


def style() -> Any:
    """Return the context in which charts are drawn."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)  # it tells of its cache of fonts
    import matplotlib as mpl

    return mpl.rc_context(STYLE)


def plain(text: str, longest: int = 40) -> str:
    """Return a name that fits a chart, its middle cut out, without what XML cannot hold."""
    text = CONTROL.sub("?", text)
    if len(text) <= longest:
        return text
    half = (longest - 1) // 2
    return f"{text[:half]}…{text[-half:]}"


def to_svg(figure: "Figure", name: str, description: str) -> str:
    """Return a figure as an inline SVG: `name` keeps its ids apart from other charts'.

    `description` is what a reader hears who cannot see it. The same figure gives the same bytes.
    """
    raw = io.BytesIO()
    with style(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a letter that its font lacks: the browser's has it
        figure.savefig(
            raw, format="svg", transparent=True, metadata={"Date": None, "Creator": None}
        )
    root = ET.fromstring(raw.getvalue())  # noqa: S314 - matplotlib's own, of names it has escaped
    for metadata in root.findall(f"{{{SVG}}}metadata"):
        root.remove(metadata)
    used = set(re.findall(rb'(?:href="|url\()#([^")]+)', raw.getvalue()))
    for element in root.iter():
        _clean(element, name, {key.decode() for key in used})
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    root.set("role", "img")
    root.set("aria-label", plain(description, 400))
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    return ET.tostring(root, encoding="unicode")


def _clean(element: ET.Element, name: str, used: set[str]) -> None:
    """Shorten numbers, name colours, drop fonts and ids that nothing refers to."""
    for key, value in list(element.attrib.items()):
        if key == "id":
            if value in used:
                element.set(key, f"{name}-{value}")
            else:
                del element.attrib[key]
            continue
        if key == f"{{{XLINK}}}href":
            del element.attrib[key]
            element.set("href", value.replace("#", f"#{name}-"))
            continue
        element.set(key, _shorten(value.replace("url(#", f"url(#{name}-")))
    element.tail = None
    if element.tag not in WORDS:
        element.text = None


def _shorten(value: str) -> str:
    """Return an attribute in the page's colours and font, its numbers to a tenth of a pixel."""
    for colour, variable in COLOURS.items():
        value = value.replace(colour, f"var(--{variable})")
    value = NUMBER.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), value)
    return FONT.sub(r"font-size:\1", value)

"""Bundles -> one HTML page that needs nothing else: no network, no script, no other file."""

import re
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.errors import BundleError, MissingRuntimeError
from edgecompile.report.html.rows import Row, band

if TYPE_CHECKING:
    from collections.abc import Sequence

    from markupsafe import Markup

    from edgecompile.report.html.sections import Shown

HERE = Path(__file__).parent
PACKAGES = ("jinja2", "matplotlib", "squarify")
EXTRA = "edgecompile[report]"


def missing() -> str | None:
    """Return the packages that a page needs and that are not installed, None if all are."""
    from importlib.util import find_spec

    absent = [name for name in PACKAGES if find_spec(name) is None]
    return ", ".join(absent) or None


def render(bundles: "Sequence[Shown]") -> str:
    """Return the page of bundles; raise BundleError for one that no build has written.

    All that comes from models, recipes and bundles is escaped; a policy in the page forbids
    scripts and fetches besides. The same bundles give the same bytes.
    """
    absent = missing()
    if absent is not None:
        raise MissingRuntimeError("report", f"needs {absent}", EXTRA)  # noqa: EM101 - a name
    import jinja2

    from edgecompile.report.html.compare import compare
    from edgecompile.report.html.sections import section

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {"number": _number, "band": _band, "share": _share, "parts": _parts}
    style = (HERE / "style.css").read_text(encoding="utf-8")
    template = environment.get_template("page.html.jinja")
    try:
        sections = [section(bundle, f"b{number}") for number, bundle in enumerate(bundles, 1)]
        comparison = compare(bundles, sections) if len(bundles) > 1 else None
        return template.render(sections=sections, comparison=comparison, style=style)
    except (LookupError, TypeError, ValueError, AttributeError, jinja2.UndefinedError) as error:
        names = " or ".join(bundle.name for bundle in bundles)
        msg = f"{names}: a manifest.json or samples.json there is none that a build wrote"
        raise BundleError(msg) from error


def _number(value: float | None, form: str = ",.4g", scale: float = 1.0) -> str:
    return "-" if value is None else f"{float(value) * scale:{form}}"


def _band(row: Row | None, form: str = ",.4g", scale: float = 1.0) -> str:
    """Return a row's value, and its band where it has one."""
    if row is None:
        return "-"
    value = f"{row['value'] * scale:{form}}"
    low, high = band(row)
    if low == high:
        return value
    return f"{value} ({low * scale:{form}} to {high * scale:{form}})"


def _parts(name: str) -> "Markup":
    """Return a name that a browser may break after each of its parts."""
    from markupsafe import Markup, escape

    return Markup("<wbr>").join(escape(part) for part in re.split(r"(?<=[./_])", name))


def _share(value: float) -> str:
    return f"{min(max(value, 0.0), 1.0) * 100:.1f}%"

"""What the reference makes of the code: tables in the place of `<!-- generated: NAME -->`."""

import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import MISSING, fields
from typing import Any

from edgecompile import errors, target
from edgecompile.recipe import Recipe

PLACE = re.compile(r"^<!-- generated: (\w+) -->$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Fill a page's places; mkdocs calls it for each page."""
    return PLACE.sub(lambda match: "\n".join(MADE[match.group(1)]()), markdown)


def _errors() -> Iterator[str]:
    yield from ("| error | exit code | when |", "|---|---|---|")
    for name, kind in inspect.getmembers(errors, inspect.isclass):
        if issubclass(kind, errors.EdgeCompileError) and kind is not errors.EdgeCompileError:
            code = getattr(kind, "exit_code", "of the signal")
            yield f"| `{name}` | {code} | {_first(kind)} |"


def _recipe() -> Iterator[str]:
    for table in fields(Recipe):
        given = table.default if table.default is not MISSING else table.default_factory()
        if not hasattr(given, "__dataclass_fields__"):
            continue
        yield from (f"## [{table.name}]", "", inspect.getdoc(type(given)) or "", "")
        yield from ("| key | default |", "|---|---|")
        yield from (f"| `{key.name}` | `{getattr(given, key.name)!r}` |" for key in fields(given))
        yield ""


def _targets() -> Iterator[str]:
    yield from ("| target | engines, the preferred one first | what it is |", "|---|---|---|")
    for name in target.names():
        engines = ", ".join(target.engines(name))
        yield f"| `{name}` | {engines} | {target.load(name).description} |"
    yield from ("", "Not yet: there is no engine for these, as their compilers cannot be had.", "")
    yield from ("| target | what it is | what its compiler needs |", "|---|---|---|")
    for each in target.waiting().values():
        yield f"| `{each.name}` | {each.description} | {each.needs} |"


def _first(kind: type) -> str:
    return (inspect.getdoc(kind) or "").partition("\n\n")[0].replace("\n", " ")


MADE: dict[str, Callable[[], Iterator[str]]] = {
    "errors": _errors,
    "recipe": _recipe,
    "targets": _targets,
}

"""Engines of other packages: each names itself in the entry-point group "edgecompile.engines".

    [project.entry-points."edgecompile.engines"]
    esp_dl = "edgecompile_esp"

The package holds, for its one engine, what this one holds for its own:

    emit.py        the engine's module (engine.py says what is in it)
    lower/         its passes, and FORMS
    runtime.py     what goes to the device: how smoke.py opens an artifact
    targets/       its targets' files
    toolchain/     NAME.toml and NAME.txt of a vendor's compiler, if it has one
"""

import pkgutil
from collections.abc import Mapping
from functools import cache
from importlib import metadata, util
from pathlib import Path

from edgecompile.errors import PluginError

GROUP = "edgecompile.engines"
NOT_ENGINES = ("bundle",)
"""What else emit/ holds."""


def engine_names() -> list[str]:
    """Return the names of all engines: the modules of emit/, and those of other packages."""
    from edgecompile import emit

    own = [m.name for m in pkgutil.iter_modules(emit.__path__) if m.name not in NOT_ENGINES]
    return sorted({*own, *packages()})


@cache
def packages() -> Mapping[str, str]:
    """Return the packages of outside engines, by engine."""
    found: dict[str, str] = {}
    for point in metadata.entry_points(group=GROUP):
        if found.setdefault(point.name, point.value) != point.value:
            both = f"{found[point.name]} and {point.value}"
            msg = f"engine {point.name}: two installed packages have it: {both}; uninstall one"
            raise PluginError(msg)
    return found


def folder_of(engine: str) -> Path:
    """Return the folder of an outside engine's package, which is not imported."""
    package = packages()[engine]
    spec = util.find_spec(package)
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    if not places:
        msg = f"engine {engine}: its package '{package}' cannot be found; install it again"
        raise PluginError(msg)
    return Path(places[0])


def module_of(engine: str, part: str, own: str) -> str:
    """Return the name of an engine's module: `part` of an outside package, else our `own`."""
    package = packages().get(engine)
    return f"{package}.{part}" if package else f"edgecompile.{own}"

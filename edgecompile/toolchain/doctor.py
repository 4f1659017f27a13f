"""What toolchains there are, what they need of this host, and whether the installed ones load."""

import os
import shutil
from pathlib import Path
from typing import Any

from edgecompile.cache_folder import cache_folder
from edgecompile.errors import FetchError
from edgecompile.toolchain.venv import (
    check_venv,
    installed,
    read_toolchain,
    toolchains,
    venv_folder,
    why_unfit,
)
from edgecompile.toolchain.wheels import pip_command

SPARE_BYTES = 4_000_000_000
"""The largest environment, and the wheels that it is made of."""


def rows() -> list[dict[str, Any]]:
    """Return a row for each toolchain: name, package, what, licence, state, folder."""
    found = []
    for name in toolchains():
        tool = read_toolchain(name)
        reason = why_unfit(tool)
        state = "installed" if installed(name) else "not installed"
        if reason and not installed(name):
            state = f"cannot be used here: {reason}"
        found.append(
            {
                "name": name,
                "package": f"{tool.package} {tool.version}",
                "what": tool.what,
                "licence": tool.licence,
                "state": state,
                "folder": str(venv_folder(name)),
            }
        )
    return found


def check() -> list[dict[str, Any]]:
    """Return a row for each check: name, ok, what."""
    found = [_check_pip(), _check_cache()]
    for name in toolchains():
        tool = read_toolchain(name)
        if not installed(name):
            reason = why_unfit(tool)
            what = f"cannot be used here: {reason}" if reason else "not installed; a build will"
            found.append({"name": name, "ok": True, "what": what})
            continue
        fault = check_venv(name)
        again = f"edgecompile toolchain remove {name}, then install {name}"
        what = f"{fault}; {again}" if fault else f"{tool.package} {tool.version} loads"
        found.append({"name": name, "ok": fault is None, "what": what})
    return found


def _check_pip() -> dict[str, Any]:
    try:
        return {"name": "pip", "ok": True, "what": " ".join(pip_command())}
    except FetchError as error:
        return {"name": "pip", "ok": False, "what": str(error)}


def _check_cache() -> dict[str, Any]:
    folder = cache_folder()
    there = next(p for p in (folder, *folder.parents) if p.exists())
    free = shutil.disk_usage(there).free
    if not os.access(there, os.W_OK):
        what = f"{there} cannot be written; set EDGECOMPILE_CACHE to another folder"
        return {"name": "cache", "ok": False, "what": what}
    what = f"{Path(folder)}, {free / 1e9:.1f} GB free"
    if free < SPARE_BYTES:
        what += f"; a toolchain may need {SPARE_BYTES / 1e9:.0f} GB: set EDGECOMPILE_CACHE"
    return {"name": "cache", "ok": free >= SPARE_BYTES, "what": what}

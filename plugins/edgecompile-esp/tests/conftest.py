"""Fixtures: those of edgecompile's own tests, and a place where the plug-in is installed."""

import importlib.util
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from edgecompile import passes, plugins

HERE = Path(__file__).parents[1]
ROOT = HERE.parents[1]

spec = importlib.util.spec_from_file_location("edgecompile_conftest", ROOT / "tests/conftest.py")
assert spec is not None
assert spec.loader is not None
shared = importlib.util.module_from_spec(spec)
spec.loader.exec_module(shared)
checkpoint, graph, rewrite, run, counts = (
    shared.checkpoint, shared.graph, shared.rewrite, shared.run, shared.counts
)  # fmt: skip
quick, no_reports, random = shared.quick, shared.no_reports, shared.random


@pytest.fixture(autouse=True)
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave what pip leaves of the plug-in, for this process and for those that it starts."""
    site = tmp_path / "site"
    about = site / "edgecompile_esp-0.1.0.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text(
        "Metadata-Version: 2.1\nName: edgecompile-esp\nVersion: 0.1.0\n"
    )
    (about / "entry_points.txt").write_text("[edgecompile.engines]\nesp_dl = edgecompile_esp\n")
    paths = [str(site), str(HERE), str(ROOT)]
    for path in reversed(paths):
        monkeypatch.syspath_prepend(path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")]))
    _forget()
    yield
    _forget()
    for name in [n for n in sys.modules if n.partition(".")[0] == "edgecompile_esp"]:
        del sys.modules[name]


def _forget() -> None:
    plugins.packages.cache_clear()
    passes.passes_of.cache_clear()

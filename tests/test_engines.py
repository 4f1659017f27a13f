"""Engines: one module each, all with the same functions."""

import inspect
import pkgutil
from pathlib import Path

import pytest

from edgecompile import emit
from edgecompile.emit import smoke
from edgecompile.engines import REFERENCE, engine
from edgecompile.target import NOT_ENGINES

NAMES = [m.name for m in pkgutil.iter_modules(emit.__path__) if m.name not in NOT_ENGINES]


@pytest.mark.parametrize("name", NAMES)
def test_every_engine_has_the_same_functions(name: str) -> None:
    """Whoever uses an engine need not know which."""
    module, reference = engine(name), engine(REFERENCE)
    for function in ("write", "runner", "runtime_version"):
        theirs, ours = (inspect.signature(getattr(m, function)) for m in (reference, module))
        assert list(ours.parameters) == list(theirs.parameters)
    assert module.HOW != reference.HOW or name == REFERENCE


@pytest.mark.parametrize("name", NAMES)
def test_every_engine_has_its_lowering_and_runs_in_smoke(name: str) -> None:
    """A folder of passes with what forms it knows, and a class in smoke.py."""
    folder = Path(emit.__path__[0]).parent / "lower" / name
    assert (folder / "__init__.py").is_file()
    assert callable(getattr(smoke, name.title()).open)

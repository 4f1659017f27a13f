"""The emulated userland of the user's cache: set up once, or the reason why a test is skipped."""

import pytest

from edgecompile.emulate.userland import Userland, open_userland
from edgecompile.errors import EmulationError


@pytest.fixture(scope="session")
def userland() -> Userland:
    """Return 64-bit ARM's."""
    return _open("aarch64")


@pytest.fixture(scope="session")
def armhf() -> Userland:
    """Return 32-bit ARM's."""
    return _open("armhf")


def _open(architecture: str) -> Userland:
    try:
        return open_userland(architecture)
    except EmulationError as error:
        pytest.skip(str(error))

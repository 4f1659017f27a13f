"""ssh://user@host:port/folder, read strictly: its words end up in a command line."""

import pytest

from edgecompile.errors import RemoteError
from edgecompile.remote.address import Address, read_address


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("ssh://pi@raspberrypi", Address("raspberrypi", "pi")),
        ("ssh://raspberrypi.local:2222/", Address("raspberrypi.local", "", 2222)),
        ("ssh://pi@[fe80::1%25eth0]/mnt/a%20b", Address("fe80::1%eth0", "pi", 0, "/mnt/a b")),
    ],
)
def test_addresses(text: str, address: Address) -> None:
    """User, port and folder may be left to ssh and the board."""
    assert read_address(text) == address


@pytest.mark.parametrize(
    "text",
    [
        "pi@raspberrypi",
        "http://raspberrypi",
        "ssh://",
        "ssh://-oProxyCommand=reboot/",
        "ssh://-l@host",
        "ssh://pi:secret@host",
        "ssh://host:99999",
        "ssh://a b",
        "ssh://host/a%0Ab",
    ],
)
def test_what_is_no_address(text: str) -> None:
    """One line that shows the form; no word becomes an option of ssh."""
    with pytest.raises(RemoteError, match="it looks like ssh://user@host"):
        read_address(text)

"""Where a board is: ssh://user@host:port/folder."""

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from edgecompile.errors import RemoteError

FORM = "ssh://user@host, ssh://host:2222 or ssh://user@host/mnt/disk"
NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.@-]*")
HOST = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:%-]*")
"""No word that ssh could take for an option."""


@dataclass(frozen=True, slots=True)
class Address:
    """A board's host; "", 0 and "" where ssh's own configuration and the home directory decide."""

    host: str
    user: str = ""
    port: int = 0
    folder: str = ""

    @property
    def shown(self) -> str:
        """Return user@host as in messages."""
        return f"{self.user}@{self.host}" if self.user else self.host

    @property
    def arguments(self) -> list[str]:
        """Return what follows ssh's options."""
        port = ["-p", str(self.port)] if self.port else []
        return [*port, *(["-l", self.user] if self.user else []), "--", self.host]

    @property
    def typed(self) -> str:
        """Return the address as a person types it after ssh."""
        return f"-p {self.port} {self.shown}" if self.port else self.shown

    @property
    def known_as(self) -> str:
        """Return the name under which ssh keeps the host's key."""
        return f"[{self.host}]:{self.port}" if self.port not in {0, 22} else self.host


def read_address(text: str) -> Address:
    """Read ssh://[user@]host[:port][/folder]."""
    try:
        parts = urlsplit(text)
        host, user = unquote(parts.hostname or ""), unquote(parts.username or "")
        port = parts.port or 0
    except ValueError as error:
        raise _wrong(text, str(error)) from error
    if parts.scheme != "ssh" or not HOST.fullmatch(host):
        raise _wrong(text, "it names no host that ssh could reach")
    if parts.password is not None:
        raise _wrong(text, "a password cannot be given; use a key (ssh-copy-id)")
    if user and not NAME.fullmatch(user):
        raise _wrong(text, f"{user!r} is no name of a user")
    if parts.query or parts.fragment:
        raise _wrong(text, "nothing may follow the folder")
    folder = unquote(parts.path).rstrip("/")
    if any(ord(letter) < 32 for letter in folder):
        raise _wrong(text, "the folder's name has control characters")
    return Address(host, user, port, folder)


def _wrong(text: str, why: str) -> RemoteError:
    return RemoteError(f"--on {text}: {why}; it looks like {FORM}")

"""What ssh and the board complain of -> one line: what, where, what to do."""

from edgecompile.errors import RemoteError
from edgecompile.remote.address import Address

FULL = "No space left on device"
LOST = ("closed by remote host", "Connection reset", "Broken pipe", "not responding", "mux_client")


def explain_ssh(address: Address, said: str) -> RemoteError:
    """Return why ssh itself ended (its exit code 255), from its standard error."""
    who = f"ssh://{address.shown}"
    for pattern, line in _known(address):
        if pattern in said:
            return RemoteError(f"{who}: {line}")
    if not said.strip() or any(word in said for word in LOST):
        return RemoteError(f"{who}: the connection was lost; try again")
    return RemoteError(f"{who}: ssh failed: {last_line(said)}; try: ssh {address.typed} true")


def _known(address: Address) -> tuple[tuple[str, str], ...]:
    """Return what OpenSSH prints, and what it means; those first that imply others."""
    changed = (
        "its host key is not the one that is known. If the board was set up anew, forget the old"
        f" key: ssh-keygen -R '{address.known_as}'; if not, another machine may answer in its place"
    )
    unknown = (
        f"its host key is not known here yet. Connect once by hand (ssh {address.typed}), compare"
        " the fingerprint with the board's (ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), and"
        " say yes"
    )
    denied = f"the board does not accept your key: ssh-copy-id {address.typed}"
    reach = "check the name, the network, and that the board is on"
    return (
        ("IDENTIFICATION HAS CHANGED", changed),
        ("host key is known for", unknown),
        ("Host key verification failed", unknown),
        ("Permission denied", denied),
        ("Too many authentication failures", denied),
        ("Connection refused", "connection refused; is ssh switched on there, at this port?"),
        ("Could not resolve hostname", f"no such host; {reach}"),
        ("No route to host", f"no route to it; {reach}"),
        ("Network is unreachable", f"the network is unreachable; {reach}"),
        ("timed out", f"no answer in time; {reach}"),
    )


def explain_far(address: Address, what: str, said: str, folder: str) -> RemoteError:
    """Return why a command failed on the board, from its standard error."""
    who = f"ssh://{address.shown}"
    if FULL in said or "Disk quota exceeded" in said:
        return no_space(address, folder, "what is copied there")
    return RemoteError(f"{who}: cannot {what}: {last_line(said)}")


def no_space(address: Address, folder: str, what: str) -> RemoteError:
    """Return that a disk of the board is full."""
    other = f"ssh://{address.shown}/mnt/disk"
    return RemoteError(
        f"ssh://{address.shown}: no space for {what} in {folder}; free some, or name a folder on"
        f" another disk: --on {other}"
    )


def last_line(said: str) -> str:
    """Return the last line that says something, without control characters."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return clean(lines[-1]) if lines else "it said nothing"


def clean(text: str, most: int = 300) -> str:
    """Return text from a board fit for a terminal: printable, and not endless."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:most]

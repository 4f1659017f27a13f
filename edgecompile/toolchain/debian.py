"""Packages of the host's own Debian, of any architecture, unpacked into a folder without root.

apt-get does it with a state of its own: it takes the host's sources, keys and proxy, checks the
signed index and each package's hash, and changes nothing of the host's.
"""

import os
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgecompile.errors import FetchError
from edgecompile.files import sha256, write_json
from edgecompile.toolchain.call import call

RECORD = "debs.json"
"""What was fetched: name, version, architecture, sha256, bytes of each package."""
HOST_STATUS = Path("/var/lib/dpkg/status")
TIME_LIMIT_S = 600
CONFIGURATION = """\
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear APT::Architectures;
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Install-Suggests "false";
Acquire::Languages "none";
Acquire::Retries "2";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
Debug::NoLocking "true";
Dir::State "{state}";
Dir::State::status "{status}";
Dir::Cache "{state}/cache";
"""
"""The host's hooks after an update are left out; its proxies are kept."""


@dataclass(frozen=True, slots=True)
class Deb:
    """A package that was fetched; `sha256` and `bytes` are of its .deb."""

    name: str
    version: str
    architecture: str
    sha256: str
    bytes: int


def host_architecture() -> str:
    """Return what dpkg calls this host's architecture: "amd64", "arm64"."""
    _check_tools()
    return call(["dpkg", "--print-architecture"], TIME_LIMIT_S).strip()


def fetch_debs(
    architecture: str, packages: Sequence[str], into: Path, *, on_host: bool = False
) -> list[Deb]:
    """Unpack packages and all they depend on below `into`; write and return what was fetched.

    `on_host` leaves out dependencies that this host has installed: its own programs run them.
    Raises FetchError: no apt-get or dpkg-deb, no network, a package that apt does not know.
    """
    _check_tools()
    with tempfile.TemporaryDirectory(prefix=".apt-", dir=into.parent) as scratch:
        state = Path(scratch)
        for folder in ("lists/partial", "cache/archives/partial"):
            (state / folder).mkdir(parents=True)
        status = state / "status"
        if on_host:
            shutil.copyfile(HOST_STATUS, status)
        else:
            status.touch()
        given = {"architecture": architecture, "state": state, "status": status}
        (state / "apt.conf").write_text(CONFIGURATION.format(**given), encoding="utf-8")
        _download(state, architecture, packages, reinstall=on_host)
        found = sorted((state / "cache/archives").glob("*.deb"))
        debs = [_describe(path) for path in found]
        for path in found:
            call(["dpkg-deb", "-x", path, into], TIME_LIMIT_S)
    write_json(into / RECORD, [asdict(deb) for deb in debs])
    return debs


def _check_tools() -> None:
    missing = [name for name in ("apt-get", "dpkg", "dpkg-deb") if shutil.which(name) is None]
    if missing:
        msg = f"there is no {' and no '.join(missing)} here: it takes Debian"
        raise FetchError(msg)


def _download(state: Path, architecture: str, packages: Sequence[str], *, reinstall: bool) -> None:
    apt: list[str | Path] = ["apt-get", "-c", state / "apt.conf", "-q"]
    told: dict[str, Any] = {"environment": {**os.environ, "LC_ALL": "C"}, "marks": ["E:"]}
    trouble = ""
    try:
        call([*apt, "update"], TIME_LIMIT_S, **told)
    except FetchError as error:  # a source that is not needed may be the broken one
        trouble = f"{error}; "
    again = ["--reinstall"] if reinstall else []
    try:
        call([*apt, "install", "--download-only", "-y", *again, *packages], TIME_LIMIT_S, **told)
    except FetchError as error:
        msg = f"{trouble}{error}"
        if "Unable to locate" in msg:
            msg += f": apt's sources have no packages for {architecture} (Ubuntu's are apart, at"
            msg += " ports.ubuntu.com), or cannot be reached"
        raise FetchError(msg) from error


def _describe(path: Path) -> Deb:
    fields = "${Package}\n${Version}\n${Architecture}\n"
    name, version, architecture = call(
        ["dpkg-deb", "-W", f"--showformat={fields}", path], TIME_LIMIT_S
    ).split()
    return Deb(name, version, architecture, sha256(path), path.stat().st_size)

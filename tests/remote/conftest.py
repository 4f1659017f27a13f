"""A real sshd on the loopback address, with a host key and a user's key made for the test."""

import getpass
import os
import pwd
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from edgecompile import pipeline
from edgecompile.recipe import GateTable, ProfileTable, Recipe

PACKAGES = ("openssh-server", "libwrap0", "libnss-wrapper")
"""From Debian, unpacked without root. libnss-wrapper gives sshd a passwd file of its own: a home
directory in the test's folder, and the user sshd that it wants where it runs as root."""


@dataclass(frozen=True, slots=True)
class Far:
    """A board: this machine, by ssh. `config` is what ssh -F takes, `home` its home directory."""

    folder: Path
    port: int
    home: Path
    config: Path
    process: subprocess.Popen[bytes]
    user: str = field(default_factory=getpass.getuser)

    @property
    def address(self) -> str:
        """Return what --on takes."""
        return f"ssh://{self.user}@127.0.0.1:{self.port}"

    @property
    def left(self) -> list[str]:
        """Return the folders that a run has left on the board."""
        return [p.name for p in self.home.rglob("edgecompile-*")]


@pytest.fixture(scope="session")
def openssh() -> Path:
    """Return a root with sshd in it, fetched once, or skip."""
    if shutil.which("ssh") is None or shutil.which("ssh-keygen") is None:
        pytest.skip("no ssh: apt-get install openssh-client")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "edgecompile-tests"
    root = cache / "openssh"
    if not (root / "usr/sbin/sshd").is_file():
        _fetch(cache / "debs", root)
    return root


def _fetch(debs: Path, root: Path) -> None:
    """Get Debian's packages and unpack them; skip where that cannot be done."""
    debs.mkdir(parents=True, exist_ok=True)
    try:
        fetch = ["apt-get", "-qq", "download", *PACKAGES]
        subprocess.run(fetch, cwd=debs, check=True, capture_output=True, timeout=120)
        for deb in debs.glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", deb, root], check=True, capture_output=True)  # noqa: S607
    except (OSError, subprocess.SubprocessError) as error:
        pytest.skip(f"no sshd: apt-get download {' '.join(PACKAGES)} failed: {error}")


@pytest.fixture
def far(openssh: Path, tmp_path: Path) -> Iterator[Far]:
    """Start sshd on a free port; its host key is known, and the user's key accepted."""
    start = sshd_of(openssh, tmp_path)
    found = start()
    yield found
    found.process.kill()
    found.process.wait()


@pytest.fixture
def sshd(openssh: Path, tmp_path: Path) -> Iterator[Callable[..., Far]]:
    """Return a function that starts sshd with further lines of its configuration."""
    started: list[Far] = []
    start = sshd_of(openssh, tmp_path)

    def make(*lines: str) -> Far:
        started.append(start(*lines))
        return started[-1]

    yield make
    for each in started:
        each.process.kill()
        each.process.wait()


def sshd_of(root: Path, folder: Path) -> Callable[..., Far]:
    """Return a function that starts the sshd of a root, its files in a folder."""

    def start(*lines: str) -> Far:
        home = folder / "home"
        home.mkdir()
        for name in ("host", "user"):
            key = ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name]
            subprocess.run(key, check=True, timeout=30)
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        config = folder / "sshd_config"
        config.write_text(
            f"Port {port}\nListenAddress 127.0.0.1\nHostKey {folder}/host\nPidFile none\n"
            f"AuthorizedKeysFile {folder}/user.pub\nPasswordAuthentication no\nUsePAM no\n"
            "StrictModes no\n" + "\n".join(lines) + "\n"
        )
        process = _run_sshd(root, config, _environment(root, folder, home))
        _wait_for(port, process, folder)
        client = folder / "ssh_config"
        client.write_text(
            f"IdentityFile {folder}/user\nIdentitiesOnly yes\nIdentityAgent none\n"
            f"UserKnownHostsFile {folder}/known_hosts\nGlobalKnownHostsFile /dev/null\n"
        )
        kind, key = (folder / "host.pub").read_text().split()[:2]
        (folder / "known_hosts").write_text(f"[127.0.0.1]:{port} {kind} {key}\n")
        return Far(folder, port, home, client, process)

    return start


def _environment(root: Path, folder: Path, home: Path) -> dict[str, str]:
    user = pwd.getpwuid(os.getuid())
    (folder / "passwd").write_text(
        f"{user.pw_name}:x:{user.pw_uid}:{user.pw_gid}::{home}:/bin/sh\n"
        "sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin\n"
    )
    (folder / "group").write_text(f"{user.pw_name}:x:{user.pw_gid}:\nnogroup:x:65534:\n")
    (wrapper,) = root.glob("usr/lib/*/libnss_wrapper.so")
    return {
        "PATH": os.environ["PATH"],
        "LD_LIBRARY_PATH": str(wrapper.parent),
        "LD_PRELOAD": str(wrapper),
        "NSS_WRAPPER_PASSWD": str(folder / "passwd"),
        "NSS_WRAPPER_GROUP": str(folder / "group"),
    }


def _run_sshd(root: Path, config: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    if os.getuid() == 0:  # as root it wants an empty folder to confine itself to
        Path("/run/sshd").mkdir(mode=0o755, exist_ok=True)
    log = (config.parent / "sshd.log").open("wb")
    with log:
        command = [root / "usr/sbin/sshd", "-D", "-e", "-f", config]
        return subprocess.Popen(command, env=environment, stdout=log, stderr=log)


def _wait_for(port: int, process: subprocess.Popen[bytes], folder: Path) -> None:
    for _ in range(200):
        if process.poll() is not None:
            pytest.skip(f"sshd does not start here: {(folder / 'sshd.log').read_text()[-300:]}")
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    pytest.skip("sshd does not answer")


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder that all tests share."""
    return tmp_path_factory.mktemp("shelf")


@pytest.fixture
def bundle(checkpoint: Callable[..., Path], shelf: Path, tmp_path: Path) -> Path:
    """Return a tiny bundle that this machine can run, of the test's own; built once."""
    if not any(shelf.iterdir()):
        wishes = Recipe(profile=ProfileTable((8,), 1), gate=GateTable(0.9, 0.9))
        model = checkpoint(sentence_transformers=True)
        list(pipeline.build(model, ["x86-64"], shelf, wishes, pipeline.Trace()))
    (built,) = shelf.iterdir()
    return Path(shutil.copytree(built, tmp_path / built.name))

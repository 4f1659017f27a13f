"""qemu-user and a Debian userland of a board's architecture with its Python runtimes.

Set up once into the user's cache: `qemu-*` unless one on PATH will do, and `userland-*`.
"""

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgecompile.cache_folder import cache_folder
from edgecompile.errors import EmulationError, FetchError
from edgecompile.toolchain.call import call
from edgecompile.toolchain.debian import RECORD as DEBS
from edgecompile.toolchain.debian import fetch_debs, host_architecture
from edgecompile.toolchain.once import once
from edgecompile.toolchain.wheels import RECORD as WHEELS
from edgecompile.toolchain.wheels import fetch_wheels, lock_path, manylinux

Say = Callable[[str, str], None]

FORMAT = 1
"""Raised when a userland is laid out otherwise: the old one is then left alone."""
TIME_LIMIT_S = 60


@dataclass(frozen=True, slots=True)
class Architecture:
    """How Debian, wheels and qemu call one; `core` is the newest that qemu must know for boards."""

    debian: str
    wheels: str
    qemu: str
    triplet: str
    core: str
    packages: tuple[str, ...]
    download_mb: int


PYTHON = ("python3-minimal", "libpython3-stdlib", "libstdc++6")
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        "aarch64": Architecture(
            "arm64", "aarch64", "qemu-aarch64", "aarch64-linux-gnu", "cortex-a76", PYTHON, 70
        ),
        "armhf": Architecture(
            "armhf",
            "armv7l",
            "qemu-arm",
            "arm-linux-gnueabihf",
            "cortex-a15",
            (*PYTHON, "python3-numpy"),
            24,
        ),
    }
)


@dataclass(frozen=True, slots=True)
class Userland:
    """What a program of `architecture` needs to run here.

    `root` is the unpacked userland, `site` holds the wheels, `qemu_libraries` is what qemu itself
    wants as LD_LIBRARY_PATH ("" for the one on PATH).
    """

    architecture: str
    qemu: Path
    qemu_version: str
    qemu_libraries: str
    folder: Path

    @property
    def root(self) -> Path:
        """Return the folder that stands for /."""
        return self.folder / "root"

    @property
    def site(self) -> Path:
        """Return the folder of the wheels."""
        return self.folder / "site"

    @property
    def python(self) -> Path:
        """Return the Python of the userland."""
        return python_of(self.root)

    @property
    def libraries(self) -> str:
        """Return what the emulated program needs as LD_LIBRARY_PATH."""
        triplet = ARCHITECTURES[self.architecture].triplet
        usr = self.root / "usr/lib" / triplet
        found = [usr, self.root / "lib" / triplet, *(usr / name for name in ("blas", "lapack"))]
        return ":".join(str(path) for path in found if path.is_dir())

    @property
    def python_path(self) -> str:
        """Return what the emulated Python needs as PYTHONPATH."""
        return f"{self.site}:{self.root / 'usr/lib/python3/dist-packages'}"


def is_set_up(architecture: str = "aarch64") -> bool:
    """Say whether `open_userland` would download nothing."""
    try:
        ready = _find_qemu(architecture) is not None or _qemu_folder().is_dir()
        return ready and _folder(architecture).is_dir()
    except EmulationError:
        return False


def open_userland(architecture: str = "aarch64", say: Say = lambda _stage, _what: None) -> Userland:
    """Return qemu and a userland; the first time, fetch them and say so.

    Raises EmulationError with the reason where this host cannot.
    """
    folder = _folder(architecture)
    try:
        qemu, libraries = _open_qemu(architecture, say)
        once(folder, lambda scratch: _make(architecture, scratch, say))
        version = _version(qemu, libraries)
    except FetchError as error:
        msg = f"no {architecture} userland can be set up: {error}"
        raise EmulationError(msg) from error
    return Userland(architecture, qemu, version, libraries, folder)


def python_of(root: Path) -> Path:
    """Return the Python below a root: usr/bin/python3.N."""
    found = sorted((root / "usr/bin").glob("python3.*[0-9]"))
    if not found:
        msg = f"{root}: there is no python3 in the userland"
        raise FetchError(msg)
    return found[0]


def _open_qemu(architecture: str, say: Say) -> tuple[Path, str]:
    """Return qemu for an architecture and the folders of its libraries: PATH's, or the cache's."""
    if found := _find_qemu(architecture):
        return found, ""

    def make(scratch: Path) -> None:
        say("emulate", "fetching qemu-user, 12 MB, into the cache, once")
        debs = fetch_debs(host_architecture(), ["qemu-user"], scratch / "root", on_host=True)
        say("emulate", f"fetched qemu-user: {sum(deb.bytes for deb in debs) / 1e6:.1f} MB")

    root = once(_qemu_folder(), make) / "root"
    qemu = root / "usr/bin" / ARCHITECTURES[architecture].qemu
    libraries = ":".join(str(path) for path in sorted(root.glob("usr/lib/*-linux-gnu*")))
    _check_core(qemu, libraries, ARCHITECTURES[architecture].core)
    return qemu, libraries


def _find_qemu(architecture: str) -> Path | None:
    """Return the qemu on PATH if it knows the newest core that boards have."""
    wanted = ARCHITECTURES[architecture]
    for name in (wanted.qemu, f"{wanted.qemu}-static"):
        if found := shutil.which(name):
            try:
                _check_core(Path(found), "", wanted.core)
            except FetchError:
                continue
            return Path(found)
    return None


def _check_core(qemu: Path, libraries: str, core: str) -> None:
    asked: list[str | Path] = [qemu, "-cpu", "help"]
    known = call(asked, TIME_LIMIT_S, qemu_environment(libraries), codes=(0, 1))  # 7.2 gives 1
    if core not in known.split():
        msg = f"{qemu} is too old: it does not know {core}"
        raise FetchError(msg)


def qemu_environment(libraries: str) -> dict[str, str]:
    """Return the environment that qemu itself runs in."""
    return {"PATH": os.defpath, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}


def _version(qemu: Path, libraries: str) -> str:
    """Return "7.2.22"."""
    told = call([qemu, "--version"], TIME_LIMIT_S, qemu_environment(libraries))
    words = told.partition("version ")[2].split()
    return words[0] if words else "of unknown version"


def _qemu_folder() -> Path:
    return cache_folder() / f"qemu-{_digest(['qemu-user'], '')}"


def _folder(architecture: str) -> Path:
    """Return the folder of a userland: another one where what is in it would be another."""
    if architecture not in ARCHITECTURES:
        msg = f"no userland of {architecture} is known; known: {', '.join(ARCHITECTURES)}"
        raise EmulationError(msg)
    if not sys.platform.startswith("linux"):
        msg = f"qemu-user needs Linux, this host is {sys.platform}"
        raise EmulationError(msg)
    lock = lock_path(architecture).read_text(encoding="utf-8")
    key = _digest(ARCHITECTURES[architecture].packages, lock)
    return cache_folder() / f"userland-{architecture}-{key}"


def _digest(packages: Sequence[str], lock: str) -> str:
    """Hash what makes up a folder: packages, lock, the host's release."""
    release = Path("/etc/os-release")
    host = release.read_text(encoding="utf-8") if release.is_file() else ""
    lines = [line for line in host.splitlines() if line.startswith(("ID=", "VERSION_ID="))]
    text = json.dumps([FORMAT, list(packages), lock, lines])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _make(architecture: str, scratch: Path, say: Say) -> None:
    """Fill a userland's folder: root/ of Debian's packages, site/ of wheels."""
    wanted = ARCHITECTURES[architecture]
    say(
        "emulate",
        f"fetching {architecture}'s userland into the cache: {wanted.download_mb} MB, once",
    )
    root = scratch / "root"
    debs = fetch_debs(wanted.debian, wanted.packages, root)
    for name in ("lib", "bin"):  # where usr/ holds all, base-files would link it
        if not (root / name).exists() and (root / "usr" / name).is_dir():
            (root / name).symlink_to(f"usr/{name}")
    version = python_of(root).name.removeprefix("python")
    glibc = next(deb.version for deb in debs if deb.name == "libc6")
    platforms = manylinux(wanted.wheels, int(glibc.split(".")[1].split("-")[0]))
    wheels = fetch_wheels(lock_path(architecture), platforms, version, scratch / "site")
    megabytes = [sum(item.bytes for item in found) / 1e6 for found in (debs, wheels)]
    say("emulate", f"fetched {megabytes[0]:.1f} MB of packages, {megabytes[1]:.1f} MB of wheels")


def runtime_versions(userland: Userland) -> dict[str, str]:
    """Return the versions of the wheels, by name, and of the userland's Python."""
    rows = json.loads((userland.site / WHEELS).read_text(encoding="utf-8"))
    names = [str(row["file"]).split("-")[:2] for row in rows]
    debs = json.loads((userland.root / DEBS).read_text(encoding="utf-8"))
    versions = {name.replace("_", "-"): version for name, version in names}
    return versions | {deb["name"]: deb["version"] for deb in debs if deb["name"] == "libc6"}

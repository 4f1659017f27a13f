"""`edgecompile verify`: a bundle is whole, nothing was added, and whom you trust has signed it.

`check` and all other readers verify the hashes. This asks more, before smoke.py is run: a file that
no build wrote is refused too, as Python would import a numpy.py that lies beside smoke.py.
"""

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from edgecompile.bundles.open_bundle import open_bundle
from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.bundles.signature import SIGNATURE, Signed, check_signature
from edgecompile.errors import BundleError
from edgecompile.files import MANIFEST
from edgecompile.report.finding import printable

MEASURED = "measured.json"
"""What smoke.py writes beside itself."""


@dataclass(frozen=True, slots=True)
class Verified:
    """A bundle that is what was built: its name, how many files it has, who signed it."""

    name: str
    files: int
    signed: Signed | None

    def line(self) -> str:
        """Return it as people read it."""
        by = "not signed"
        if self.signed is not None:
            by = f"signed with key {self.signed.key}: {printable(self.signed.comment)}"
        return f"{self.files} files, each the one that was built, and no other; {by}"


def verify_bundle(place: Path, key: str | Path | None = None) -> Verified:
    """Verify a bundle, a folder or a .zip; BundleError or SignatureError, one line.

    `key` is the signer's public key, or its file: with it, the bundle must be signed.
    """
    with open_bundle(place) as folder:
        signed = check_signature(folder, key)
        bundle = read_bundle(folder)
        names = {MANIFEST, *bundle.manifest["files"]}
        files = names | {SIGNATURE, MEASURED}
        folders = {str(parent) for name in names for parent in PurePosixPath(name).parents}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            known = name in folders if path.is_dir() else name in files and path.is_file()
            if path.is_symlink() or not known:
                msg = f"{folder / printable(name)}: is none of the bundle's files; remove it"
                raise BundleError(msg)
        return Verified(bundle.name, len(names), signed)

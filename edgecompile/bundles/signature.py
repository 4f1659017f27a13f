"""Who vouches for a bundle: a minisign signature of its manifest, which holds every file's hash.

`minisign -G` makes the keys, `minisign -Vm manifest.json` verifies without edgecompile. The format:
https://jedisct1.github.io/minisign/#signature-format
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgecompile import __version__
from edgecompile.bundles.read_bundle import ReadBundle
from edgecompile.errors import MissingRuntimeError, SignatureError
from edgecompile.files import MANIFEST, write_whole
from edgecompile.report.finding import printable

if TYPE_CHECKING:
    from collections.abc import Callable

SIGNATURE = f"{MANIFEST}.minisig"
MOST_BYTES = 1 << 14
"""Of a key or signature: a trusted comment has at most 8 KB."""
NO_MINISIGN = MissingRuntimeError("py-minisign", package="edgecompile[sign]")


@dataclass(frozen=True, slots=True)
class Signed:
    """By which key, as `minisign -G` prints its number, and what the signer says, signed too."""

    key: str
    comment: str


def sign(bundle: ReadBundle, key: Path, password: "Callable[[], str]", comment: str = "") -> Signed:
    """Sign a bundle's manifest with a secret key file; `password` is asked where it has one.

    The same key, manifest and comment give the same signature: it holds no time. Raises
    SignatureError where the key or the password is wrong.
    """
    minisign = _minisign()
    told = comment or f"{bundle.manifest['model']} for {bundle.target}, edgecompile {__version__}"
    try:
        with minisign.SecretKey.from_bytes(_read(key, "secret key")) as secret:
            if secret.is_encrypted():
                secret.decrypt(password())
            text = told if comment else _plain(told)
            data = (bundle.folder / MANIFEST).read_bytes()
            made = secret.sign(data, trusted_comment=text)
    except minisign.Error as error:
        msg = f"{key}: cannot sign: {error}"
        raise SignatureError(msg) from error
    write_whole(bundle.folder / SIGNATURE, bytes(made).decode() + "\n")
    return Signed(_number(made), made.trusted_comment)


def check_signature(folder: Path, key: str | Path | None) -> Signed | None:
    """Check a bundle's signature before anything in its manifest is believed.

    `key` is a public key or its file. None where there is neither key nor signature. Raises
    SignatureError: not signed, by another key, of another manifest, or signed and no key is given.
    """
    path = folder / SIGNATURE
    there = path.is_file() and not path.is_symlink()
    if key is None and not there:
        return None
    if not there:
        msg = f"{path}: is missing: the bundle is not signed; `edgecompile sign` does it"
        raise SignatureError(msg)
    minisign = _minisign()
    try:
        made = minisign.Signature.from_bytes(_read(path, "signature"))
    except minisign.Error as error:
        msg = f"{path}: is no minisign signature ({error})"
        raise SignatureError(msg) from error
    number = _number(made)
    if key is None:
        msg = f"{path}: signed with key {number}: name the signer's public key with --key"
        raise SignatureError(msg)
    public = _public_key(minisign, key)
    own = _number(public)
    if own != number:
        msg = f"{path}: signed with key {number}, not with yours, {own}"
        raise SignatureError(msg)
    try:
        public.verify((folder / MANIFEST).read_bytes(), made)
    except minisign.VerifyError as error:
        msg = (
            f"{path}: {MANIFEST}, or the comment, is not what was signed; if you changed the bundle"
            " yourself (edgecompile profile, report), sign it again"
        )
        raise SignatureError(msg) from error
    return Signed(number, made.trusted_comment)


def _public_key(minisign: Any, key: str | Path) -> Any:
    """Read a public key: the line itself, as minisign prints it, or a file."""
    try:
        if isinstance(key, str) and not Path(key).is_file():
            return minisign.PublicKey.from_base64(key)
        return minisign.PublicKey.from_bytes(_read(Path(key), "public key"))
    except minisign.Error as error:
        msg = f"{printable(str(key))}: is neither a minisign public key nor its file ({error})"
        raise SignatureError(msg) from error


def _read(path: Path, what: str) -> bytes:
    """Read a small file."""
    try:
        with path.open("rb") as file:
            data = file.read(MOST_BYTES + 1)
    except OSError as error:
        msg = f"{path}: cannot read the {what}: {error.strerror}"
        raise SignatureError(msg) from error
    if len(data) > MOST_BYTES:
        msg = f"{path}: is no minisign {what}: it has more than {MOST_BYTES >> 10} KB"
        raise SignatureError(msg)
    return data


def _number(of: Any) -> str:
    """Return a key's number as minisign prints it; the library has no public name for it."""
    raw: bytes = of._key_id if hasattr(of, "_key_id") else of._keynum_pk.key_id  # noqa: SLF001
    return f"{int.from_bytes(raw, 'little'):X}"


def _plain(text: str) -> str:
    """Return printable ASCII: what a comment may hold."""
    return "".join(letter if " " <= letter <= "~" else "?" for letter in text)


def _minisign() -> Any:
    """Import the library, which is an extra."""
    try:
        import minisign
    except ImportError:
        raise NO_MINISIGN from None
    return minisign

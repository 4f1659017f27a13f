"""Signatures: of one format with the minisign program, and every fault is one line."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from edgecompile.bundles.read_bundle import read_bundle
from edgecompile.bundles.signature import SIGNATURE, check_signature, sign
from edgecompile.bundles.verify_bundle import verify_bundle
from edgecompile.errors import SignatureError

minisign = pytest.importorskip("minisign")

Keys = tuple[Path, Path]


def no_password() -> str:
    """Stand for a person who has none."""
    pytest.fail("the key has no password")


def make_keys(folder: Path, name: str = "team") -> Keys:
    """Write a pair of keys without a password: secret, public."""
    pair = minisign.KeyPair.generate()
    secret, public = folder / f"{name}.key", folder / f"{name}.pub"
    secret.write_bytes(bytes(pair.secret_key) + b"\n")
    public.write_bytes(bytes(pair.public_key) + b"\n")
    return secret, public


@pytest.fixture
def keys(tmp_path: Path) -> Keys:
    """Return a pair of keys."""
    return make_keys(tmp_path)


def refusal(folder: Path, key: str | Path | None) -> str:
    """Return why a bundle is not verified: one line."""
    with pytest.raises(SignatureError) as caught:
        verify_bundle(folder, key)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_signed_bundle_is_verified_and_says_what_the_signer_says(
    bundle: Path, keys: Keys
) -> None:
    """By the key's file, or the key as minisign prints it; the same input, the same signature."""
    secret, public = keys
    made = sign(read_bundle(bundle), secret, no_password)
    assert made.comment.startswith("model for x86-64, edgecompile ")
    first = (bundle / SIGNATURE).read_bytes()
    sign(read_bundle(bundle), secret, no_password)
    assert (bundle / SIGNATURE).read_bytes() == first
    for key in (public, str(public), public.read_text().splitlines()[1]):
        assert verify_bundle(bundle, key).signed == made


def test_a_changed_manifest_or_comment_is_told(bundle: Path, keys: Keys) -> None:
    """Hashes that fit do not help: whoever changes a file must change the manifest."""
    secret, public = keys
    sign(read_bundle(bundle), secret, no_password, "released")
    signature = bundle / SIGNATURE
    whole = signature.read_bytes()
    signature.write_bytes(whole.replace(b"comment: released", b"comment: approved"))
    assert "or the comment, is not what was signed" in refusal(bundle, public)
    signature.write_bytes(whole)
    table = json.loads((bundle / "manifest.json").read_text())
    (bundle / "manifest.json").write_text(json.dumps(table | {"model": "other"}))
    assert "manifest.json, or the comment, is not what was signed" in refusal(bundle, public)


def test_wrong_and_missing_keys_and_signatures_are_told(bundle: Path, keys: Keys) -> None:
    """Also a bundle that is signed while nobody asks by whom: then nothing was verified."""
    secret, public = keys
    _, stranger = make_keys(bundle.parent, "stranger")
    assert "the bundle is not signed" in refusal(bundle, public)
    number = sign(read_bundle(bundle), secret, no_password).key
    assert f"signed with key {number}, not with yours" in refusal(bundle, stranger)
    assert f"key {number}: name the signer's public key with --key" in refusal(bundle, None)
    assert "is neither a minisign public key nor its file" in refusal(bundle, "RWQnonsense")
    assert "is neither a minisign public key nor its file" in refusal(bundle, secret)
    (bundle / SIGNATURE).write_bytes(b"\xff" * 100)
    assert "is no minisign signature" in refusal(bundle, public)
    (bundle / SIGNATURE).write_bytes(b"x" * 100_000)
    assert "has more than" in refusal(bundle, public)


def test_what_cannot_sign_is_told(bundle: Path, keys: Keys) -> None:
    """No key, a public one in its place, a wrong password: nothing is written."""
    read = read_bundle(bundle)
    locked = minisign.SecretKey.from_file(keys[0])
    locked.encrypt("right", opslimit=1 << 15, memlimit=1 << 24)
    path = bundle.parent / "locked.key"
    path.write_bytes(bytes(locked) + b"\n")
    for key, told in ((bundle / "none", "cannot read"), (keys[1], "cannot sign"), (path, "wrong")):
        with pytest.raises(SignatureError, match=told):
            sign(read, key, lambda: "wrong")
    assert not (bundle / SIGNATURE).exists()
    sign(read, path, lambda: "right")
    assert check_signature(bundle, keys[1]) is not None


def test_the_minisign_program_and_ours_verify_each_other(bundle: Path, tmp_path: Path) -> None:
    """Its keys sign here and its -V is content; what it signs verifies here."""
    program = shutil.which("minisign")
    if program is None:
        pytest.skip("the minisign program is missing: apt-get install minisign")
    secret, public = tmp_path / "real.key", tmp_path / "real.pub"

    def call(*words: object) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [program, *map(str, words)], capture_output=True, text=True, check=False
        )

    assert call("-G", "-W", "-p", public, "-s", secret).returncode == 0
    ours = sign(read_bundle(bundle), secret, no_password, "by edgecompile")
    manifest = bundle / "manifest.json"
    done = call("-V", "-p", public, "-m", manifest)
    assert done.returncode == 0, done.stderr
    assert "Trusted comment: by edgecompile" in done.stdout
    assert f"minisign public key {ours.key}" in public.read_text()

    (bundle / SIGNATURE).unlink()
    assert call("-S", "-W", "-s", secret, "-m", manifest, "-t", "by minisign").returncode == 0
    signed = verify_bundle(bundle, public).signed
    assert signed is not None
    assert (signed.key, signed.comment) == (ours.key, "by minisign")
    manifest.write_bytes(manifest.read_bytes() + b" ")
    assert call("-V", "-p", public, "-m", manifest).returncode != 0
    refusal(bundle, public)

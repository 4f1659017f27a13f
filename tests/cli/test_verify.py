"""`verify`, `sign` and `pack` on the command line: exit codes, lines, the password."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from edgecompile.cli.main import cli

minisign = pytest.importorskip("minisign")


def call(*arguments: object, **environment: str) -> Result:
    """Run a command in this process."""
    return CliRunner().invoke(cli, [str(a) for a in arguments], env=environment)


def test_sign_then_verify_then_pack(bundle: Path, tmp_path: Path) -> None:
    """A key with a password takes it from the environment; the archive has the signature too."""
    pair = minisign.KeyPair.generate()
    key, public = tmp_path / "team.key", pair.public_key.to_base64().decode()
    pair.secret_key.encrypt("secret", opslimit=1 << 15, memlimit=1 << 24)
    key.write_bytes(bytes(pair.secret_key))
    assert call("verify", bundle).stdout.endswith("and no other; not signed\n")
    done = call("sign", bundle, "--key", key)
    assert (done.exit_code, "set $EDGECOMPILE_KEY_PASSWORD" in done.stderr) == (2, True)
    done = call("sign", bundle, "--key", key, EDGECOMPILE_KEY_PASSWORD="secret")  # noqa: S106
    assert done.exit_code == 0, done.stderr
    packed = tmp_path / "b.zip"
    assert f"packed: {packed}   (sha256 " in call("pack", bundle, "-o", packed).stdout
    done = call("verify", bundle, packed, "--key", public, "--json")
    assert done.exit_code == 0, done.stderr
    assert [row["signed"]["comment"] for row in json.loads(done.stdout)] == [
        "model for x86-64, edgecompile 0.1.0"
    ] * 2


def test_the_others_are_still_verified(bundle: Path, tmp_path: Path) -> None:
    """One line a bundle, 1 if any is not whole, and JUnit has all."""
    report = tmp_path / "junit.xml"
    done = call("verify", tmp_path / "none", bundle, "--junit", report)
    assert done.exit_code == 1
    assert [line.split()[0] for line in done.stdout.splitlines()] == ["FAIL", "ok"]
    assert done.stderr.startswith(f"error: {tmp_path / 'none'}: no bundle")
    assert 'failures="1"' in report.read_text()

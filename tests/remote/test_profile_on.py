"""A bundle goes to a board over a real ssh connection, and leaves nothing there."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edgecompile import target
from edgecompile.errors import EdgeCompileError, GateError, RemoteError, SmokeError
from edgecompile.remote.address import read_address
from edgecompile.remote.connection import connect
from edgecompile.remote.profile_on import Measured, Request, profile_on

HERE = sys.executable
"""A Python of the board that has numpy and onnxruntime: this one."""


def request(bundle: Path, far: Any, **changes: Any) -> Request:
    """Return a request that works."""
    manifest = json.loads((bundle / "manifest.json").read_text())
    board = target.load(manifest["target"])
    made = Request(bundle, manifest, board, far.address, python=HERE, config=far.config)
    return replace(made, **changes)


def run(asked: Request) -> Measured:
    """Run it in silence."""
    return profile_on(asked, lambda _stage, _what: None)


def refused(asked: Request, kind: type[EdgeCompileError] = RemoteError) -> str:
    """Return the one line of an error."""
    with pytest.raises(kind) as caught:
        run(asked)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_whole_way(bundle: Path, far: Any) -> None:
    """Copied, run there, taken back; the board is described, and its disk as before."""
    said: list[tuple[str, str]] = []
    found = profile_on(request(bundle, far), lambda stage, what: said.append((stage, what)))
    manifest = json.loads((bundle / "manifest.json").read_text())
    assert found.result["artifact_sha256"] == manifest["files"][manifest["artifact"]]
    assert found.board.isa == "x86_64"
    assert {stage for stage, _ in said} == {"connect", "copy", "smoke", "clean up"}
    assert any("latency" in what for _, what in said)
    assert far.left == []


def test_a_folder_of_ones_choice(bundle: Path, far: Any, tmp_path: Path) -> None:
    """A name with a space and a quote in it stays one name on the far side."""
    place = tmp_path / "it's a disk; rm -rf x"
    place.mkdir()
    address = f"{far.address}/{str(place)[1:].replace(' ', '%20')}"
    assert run(request(bundle, far, address=address)).result["latency"]
    assert list(place.iterdir()) == []


def test_an_unknown_host_key_is_refused(bundle: Path, far: Any) -> None:
    """Nobody is asked, nothing is copied; the line says how to make it known."""
    (far.folder / "known_hosts").unlink()
    message = refused(request(bundle, far))
    assert "its host key is not known here yet" in message
    assert f"ssh -p {far.port} {far.user}@127.0.0.1" in message
    assert not (far.folder / "known_hosts").exists()


def test_a_changed_host_key_is_refused(bundle: Path, far: Any) -> None:
    """It may be another machine: the line says so, and how to forget the old key."""
    kind, key = (far.folder / "user.pub").read_text().split()[:2]
    (far.folder / "known_hosts").write_text(f"[127.0.0.1]:{far.port} {kind} {key}\n")
    message = refused(request(bundle, far))
    assert f"ssh-keygen -R '[127.0.0.1]:{far.port}'" in message


def test_a_wrong_key_is_refused(bundle: Path, far: Any) -> None:
    """No password is asked for."""
    other = far.folder / "other"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)  # noqa: S607
    text = far.config.read_text()
    far.config.write_text(text.replace(f"{far.folder}/user\n", f"{other}\n"))
    assert f"ssh-copy-id -p {far.port}" in refused(request(bundle, far))


def test_nobody_listens(bundle: Path, far: Any) -> None:
    """A closed port, and a name that no one has."""
    far.process.kill()
    far.process.wait()
    assert "connection refused" in refused(request(bundle, far))
    nowhere = request(bundle, far, address="ssh://board.invalid")
    assert "no such host" in refused(nowhere)


def test_no_python_there(bundle: Path, far: Any) -> None:
    """Its name is in the line."""
    message = refused(request(bundle, far, python="/opt/none/python3"))
    assert "no Python '/opt/none/python3' there" in message
    assert far.left == []


@pytest.fixture(scope="session")
def bare_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return a Python without numpy."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([HERE, "-m", "venv", "--without-pip", folder / "venv"], check=True)
    return str(folder / "venv/bin/python")


def test_a_chosen_python_without_numpy(bundle: Path, far: Any, bare_python: str) -> None:
    """Nothing is installed into a Python that somebody chose; the line says what to install."""
    message = refused(request(bundle, far, python=bare_python))
    assert f"{bare_python} lacks numpy, onnxruntime>=1.24; there:" in message
    assert far.left == []


def test_no_numpy_and_no_network(bundle: Path, sshd: Callable[..., Any], bare_python: str) -> None:
    """Without a chosen Python a venv is tried; pip that reaches no index is one line."""
    folder = Path(bare_python).parent
    far = sshd(f"SetEnv PATH={folder}:/usr/bin:/bin PIP_INDEX_URL=http://127.0.0.1:9/")
    message = refused(request(bundle, far, python=""))
    assert "python3 lacks numpy, onnxruntime>=1.24, and pip there reaches no index" in message
    assert "\n" not in message
    assert far.left == []


def test_a_bundle_of_another_isa(bundle: Path, far: Any) -> None:
    """It is not even copied."""
    message = refused(request(bundle, far, target=target.load("raspberry-pi-5")))
    assert "is x86_64, raspberry-pi-5 is aarch64" in message
    assert far.left == []


def test_a_smoke_test_that_fails_there(bundle: Path, far: Any) -> None:
    """Its FAIL line is the error, and the exit code is a gate's."""
    with (bundle / "golden.npz").open("ab") as file:
        file.write(b"x")
    asked = request(bundle, far)
    message = refused(asked, GateError)
    assert "FAIL  files: golden.npz is not the file that was built" in message
    assert far.left == []


def test_a_process_that_a_signal_ends(bundle: Path, far: Any) -> None:
    """An illegal instruction, or too little memory: the signal is named."""
    path = bundle / "smoke.py"
    path.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGILL)\n")
    assert "ended by signal 4" in refused(request(bundle, far), SmokeError)


def test_no_space_there(bundle: Path, far: Any, tmp_path: Path) -> None:
    """A disk of 200 kB is told from the start."""
    disk = tmp_path / "small"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=200k", "none", disk]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk cannot be mounted here (not root)")
    try:
        with (bundle / "model.onnx").open("ab") as file:
            file.write(bytes(300_000))
        message = refused(request(bundle, far, address=f"{far.address}{disk}"))
        assert "no space for the bundle" in message
        assert str(disk) in message
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", disk], check=True)  # noqa: S607


def wait_until(holds: Callable[[], bool]) -> bool:
    """Wait up to 20 s for something to hold."""
    for _ in range(400):
        if holds():
            return True
        time.sleep(0.05)
    return False


def alive(mark: str) -> list[str]:
    """Return the processes whose command line has a mark in it."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            text = path.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if mark in text and path.parent.name != str(os.getpid()):
            found.append(text)
    return found


ENDLESS = """
import sys
from pathlib import Path
from edgecompile.remote.address import read_address
from edgecompile.remote.connection import connect
with connect(read_address(sys.argv[1]), Path(sys.argv[2])) as connection:
    print(connection.folder, flush=True)
    connection.run(["sleep", sys.argv[3]], 1000)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["ctrl-c", "kill-9"])
def test_it_cleans_up_after_an_interrupt(far: Any, number: signal.Signals) -> None:
    """Even when we are killed: the board stops what runs there, and removes the folder."""
    mark = f"{1000 + far.port}.25"
    command = [HERE, "-c", ENDLESS, far.address, far.config, mark]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert process.stdout
    folder = Path(process.stdout.readline().decode().strip())
    assert wait_until(lambda: any(line.startswith("sleep") for line in alive(mark)))
    assert folder.is_dir()
    process.send_signal(number)
    process.wait(30)
    process.stdout.close()
    assert wait_until(lambda: not folder.exists())
    assert wait_until(lambda: not alive(mark))


def test_it_cleans_up_after_a_lost_connection(far: Any) -> None:
    """The network goes away while smoke.py runs: one line here, no folder there."""
    heard: list[str] = []

    def cut(line: str) -> None:
        heard.append(line)
        for pid in children(far.process.pid):
            os.kill(pid, signal.SIGKILL)

    with connect(read_address(far.address), far.config) as connection:
        folder = Path(connection.folder)
        with pytest.raises(RemoteError, match="lost"):
            connection.run(["sh", "-c", "echo ready; exec sleep 600"], 60, heard=cut)
    assert heard == ["ready"]
    assert wait_until(lambda: not folder.exists())


def children(pid: int) -> list[int]:
    """Return the processes that a process started."""
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(word) for word in text.split()]


def test_a_command_that_takes_too_long_is_ended(far: Any) -> None:
    """The board is not waited for without end."""
    with connect(read_address(far.address), far.config) as connection:
        with pytest.raises(RemoteError, match="was not done in 1 s"):
            connection.run(["sleep", "600"], 1)
        folder = Path(connection.folder)
    assert wait_until(lambda: not folder.exists())

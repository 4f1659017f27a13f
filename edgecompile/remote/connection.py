"""One ssh connection to a board, a folder there, and commands that run in it.

The first session makes the folder and waits for the end of its input. It comes when this process
is done, is killed, or the network is gone: then the board itself stops what runs and removes the
folder. All further sessions go through the same connection (OpenSSH's ControlMaster).
"""

import os
import shlex
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from edgecompile.errors import RemoteError
from edgecompile.remote.address import Address
from edgecompile.remote.explain import explain_far, explain_ssh

SSH_FAILED = 255
CONNECT_LIMIT_S, CLEAN_LIMIT_S = 40, 15
MOST_OUTPUT = 1 << 20
"""Bytes of a command's output that are kept: a board is not trusted to end."""
OPTIONS = {
    "BatchMode": "yes",  # never ask for a password
    "StrictHostKeyChecking": "yes",
    "UpdateHostKeys": "no",
    "ConnectTimeout": "10",
    "ServerAliveInterval": "5",
    "ServerAliveCountMax": "3",  # a dead line is noticed after 15 s
    "ClearAllForwardings": "yes",
    "ForwardAgent": "no",
    "ForwardX11": "no",
    "PermitLocalCommand": "no",
    "RemoteCommand": "none",
    "ControlPersist": "no",
    "LogLevel": "ERROR",
}
HOLD = """
base=${1:-${XDG_CACHE_HOME:-$HOME/.cache}}
[ -n "$1" ] || mkdir -p "$base" || exit 1
umask 077
folder=$(mktemp -d "$base/edgecompile-XXXXXX") || exit 1
clean() {
  trap "" HUP INT TERM PIPE
  pid=$(cat "$folder/pid" 2>/dev/null) && { kill -- "-$pid" || kill "$pid"; } 2>/dev/null
  rm -rf "$folder" 2>/dev/null || { sleep 1; rm -rf "$folder"; }
}
trap clean EXIT
trap "exit 1" HUP INT TERM PIPE
echo "$folder"
cat >/dev/null
"""
"""POSIX sh. sshd gives each session a process group of its own: its first process leads it."""
WORK = """
folder=$1; shift
echo $$ >"$folder/pid" && cd "$folder" || exit 1
LC_ALL=C; export LC_ALL
program=$1; shift
case $program in "~/"*) program=$HOME/${program#??};; esac
"$program" "$@"
code=$?
rm -f "$folder/pid"
exit $code
"""
"""No exec: sh says 128 + n of a signal, of which ssh would say 255."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Answer:
    """How a command ended, and what it wrote."""

    code: int
    out: str
    err: str


@dataclass(frozen=True, slots=True)
class Connection:
    """An open connection; `folder` is the new folder on the board."""

    address: Address
    ssh: tuple[str, ...]
    folder: str
    holder: subprocess.Popen[bytes]
    sessions: list[subprocess.Popen[bytes]]

    def run(
        self,
        command: Sequence[str],
        limit_s: float,
        feed: Callable[[IO[bytes]], None] | None = None,
        heard: Say = lambda _line: None,
    ) -> Answer:
        """Run a command in the folder: `feed` writes its input, `heard` gets each line it prints.

        Raises RemoteError when the connection fails, or after `limit_s` seconds.
        """
        line = f"exec sh -c {shlex.quote(WORK)} sh {shlex.join([self.folder, *command])}"
        process = _start([*self.ssh, "-o", "ControlMaster=no", *self.address.arguments, line])
        late = threading.Event()

        def stop() -> None:
            late.set()
            self.holder.kill()  # it has the pipes of all sessions, and the board then cleans up
            process.kill()

        timer = threading.Timer(limit_s, stop)
        timer.start()
        self.sessions.append(process)
        try:
            answer = _converse(process, feed, heard)
        finally:
            timer.cancel()
        if late.is_set():
            what = shlex.join(command[:3])
            msg = f"ssh://{self.address.shown}: '{what}' was not done in {limit_s:.0f} s"
            raise RemoteError(msg)
        if answer.code == SSH_FAILED:
            raise explain_ssh(self.address, answer.err)
        return answer


@contextmanager
def connect(address: Address, config: Path | None = None) -> Iterator[Connection]:
    """Connect, make a folder on the board, and remove it at the end, whatever happens."""
    if shutil.which("ssh") is None:
        msg = "no ssh here; install OpenSSH's client: apt-get install openssh-client"
        raise RemoteError(msg)
    with tempfile.TemporaryDirectory(prefix="ec-ssh-") as sockets:
        ssh = ["ssh", "-T", *(["-F", str(config)] if config else [])]
        for key, value in OPTIONS.items():
            ssh += ["-o", f"{key}={value}"]
        ssh += ["-o", f"ControlPath={sockets}/s"]
        hold = f"exec sh -c {shlex.quote(HOLD)} sh {shlex.quote(address.folder)}"
        holder = _start([*ssh, "-o", "ControlMaster=yes", *address.arguments, hold])
        sessions: list[subprocess.Popen[bytes]] = []
        try:
            yield Connection(address, tuple(ssh), _made(holder, address), holder, sessions)
        finally:
            _leave(holder)
            for session in sessions:  # their pipes end with the connection, which had them
                _end(session)


def _made(holder: subprocess.Popen[bytes], address: Address) -> str:
    """Return the folder that the first session made."""
    timer = threading.Timer(CONNECT_LIMIT_S, holder.kill)
    timer.start()
    try:
        first = (holder.stdout.readline(4096) if holder.stdout else b"").decode(errors="replace")
    finally:
        timer.cancel()
    folder = first.rstrip("\n")
    if first.endswith("\n") and folder.startswith("/"):
        return folder
    if first:  # no session of ours: a shell that greets, for example
        holder.kill()
    said = holder.stderr.read(MOST_OUTPUT).decode(errors="replace") if holder.stderr else ""
    holder.wait()
    if holder.returncode == SSH_FAILED:
        raise explain_ssh(address, said)
    if holder.returncode < 0:
        raise explain_ssh(address, "timed out")
    where = address.folder or "its home directory"
    raise explain_far(address, f"make a folder in {where}", said or folder, where)


def _leave(holder: subprocess.Popen[bytes]) -> None:
    """End the first session's input, and wait until it has cleaned up."""
    with suppress(OSError):
        if holder.stdin:
            holder.stdin.close()
    with suppress(subprocess.TimeoutExpired):
        holder.wait(CLEAN_LIMIT_S)
    _end(holder)


def _start(command: Sequence[str]) -> subprocess.Popen[bytes]:
    """Start ssh in a process group of its own: Ctrl-C is ours to handle, not its."""
    return subprocess.Popen(  # noqa: S603 - no shell; words that are no options (address.py)
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True, env={**os.environ, "LC_ALL": "C"},
    )  # fmt: skip


def _converse(
    process: subprocess.Popen[bytes], feed: Callable[[IO[bytes]], None] | None, heard: Say
) -> Answer:
    """Write a command's input, read what it prints, line by line, up to MOST_OUTPUT bytes."""
    assert process.stdin and process.stdout and process.stderr  # noqa: S101, PT018 - pipes
    complaints: list[bytes] = []
    errors = process.stderr

    def listen() -> None:
        for line in iter(lambda: errors.readline(4096), b""):
            complaints.append(line)
            del complaints[:-100]

    listener = threading.Thread(target=listen, daemon=True)
    listener.start()
    with suppress(BrokenPipeError):  # it ended early: what it says tells why
        if feed is not None:
            feed(process.stdin)
        process.stdin.close()
    out: list[str] = []
    size = 0
    for raw in iter(lambda: process.stdout.readline(4096) if process.stdout else b"", b""):
        size += len(raw)
        if size > MOST_OUTPUT:
            process.kill()
            break
        line = raw.decode(errors="replace")
        out.append(line)
        heard(line.rstrip("\n"))
    code = process.wait()
    listener.join(5)
    return Answer(code, "".join(out), b"".join(complaints).decode(errors="replace"))


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill ssh if it still runs, and close its pipes."""
    if process.poll() is None:
        process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout, process.stderr):
        with suppress(OSError):
            if pipe:
                pipe.close()

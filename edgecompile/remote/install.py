"""A Python on the board that has numpy and the engine's runtime: what is there, or a new venv."""

from edgecompile.errors import RemoteError
from edgecompile.remote.board import Board
from edgecompile.remote.connection import Connection, Say
from edgecompile.remote.explain import explain_far, last_line, no_space
from edgecompile.target import version

DEFAULT_PYTHON = "python3"
VENV_LIMIT_S, PIP_LIMIT_S = 600, 1800
VENV_BYTES = 400_000_000
"""numpy and onnxruntime for aarch64 take 70 MB packed, 250 MB in place (seen), and pip itself."""
OFFLINE = ("NewConnectionError", "NameResolutionError", "Connection refused", "unreachable")


def missing(board: Board, package: str, oldest: str) -> list[str]:
    """Return what pip is to install: numpy and a runtime not older than `oldest` (">=1.17")."""
    wanted = [] if board.packages.get("numpy") else ["numpy"]
    found = board.packages.get(package)
    return wanted if found and version(found) >= version(oldest) else [*wanted, package + oldest]


def install(
    connection: Connection, board: Board, packages: list[str], chosen: str, say: Say
) -> str:
    """Return the Python to use; without a chosen one, a venv in the folder gets the packages."""
    if not packages:
        return chosen or DEFAULT_PYTHON
    who, words = f"ssh://{connection.address.shown}", " ".join(f"'{p}'" for p in packages)
    if chosen:
        msg = f"{who}: {chosen} lacks {', '.join(packages)}; there: {chosen} -m pip install {words}"
        raise RemoteError(msg)
    if board.free_bytes < VENV_BYTES:
        raise no_space(connection.address, connection.folder, f"numpy and {packages[-1]}")
    say(f"{', '.join(packages)} in a venv on {board.name}, for this run alone")
    made = connection.run([DEFAULT_PYTHON, "-m", "venv", "venv"], VENV_LIMIT_S)
    if made.code:
        if "ensurepip" in made.out + made.err:
            msg = (
                f"{who}: python3 has no venv: apt-get install python3-venv, or name one by --python"
            )
            raise RemoteError(msg)
        raise explain_far(
            connection.address, "make a venv", made.err or made.out, connection.folder
        )
    pip = ["venv/bin/python", "-m", "pip", "install", "--quiet", "--no-input", "--no-cache-dir"]
    pip += ["--disable-pip-version-check", "--retries", "1", "--only-binary", ":all:", *packages]
    done = connection.run(pip, PIP_LIMIT_S)
    if done.code == 0:
        return "venv/bin/python"
    by_hand = f"install them there by hand (pip install {words}) and name that Python by --python"
    if any(word in done.err for word in OFFLINE):
        lacks = f"{DEFAULT_PYTHON} lacks {', '.join(packages)}"
        msg = f"{who}: {lacks}, and pip there reaches no index; {by_hand}"
        raise RemoteError(msg)
    if "No matching distribution" in done.err:
        msg = (
            f"{who}: pip finds no {last_line(done.err).rpartition(' for ')[2]} for Python"
            f" {board.python} on {board.isa}; name another Python by --python"
        )
        raise RemoteError(msg)
    raise explain_far(connection.address, f"install {words}", done.err, connection.folder)

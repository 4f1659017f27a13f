"""Every error that a user can meet: what is wrong, where, and what to do next."""

import difflib
from collections.abc import Iterable, Sequence


class EdgeCompileError(Exception):
    """Base class: the command line prints it as one line, without a traceback."""

    exit_code = 1


class ModelError(EdgeCompileError):
    """A model that cannot be read: the message names the file, the fault and the next step."""


class DataError(EdgeCompileError):
    """Calibration or evaluation data that cannot be used."""


class RecipeError(EdgeCompileError):
    """A recipe or target file with a wrong key or value."""


class OutputError(EdgeCompileError):
    """A place that cannot be written to."""


class BundleError(EdgeCompileError):
    """A bundle that is not what a build has written: damaged, mixed up, or of a newer schema."""


class SignatureError(BundleError):
    """A signature that is missing, another's, or of other bytes; a key that cannot be read."""


class UnsupportedError(EdgeCompileError):
    """A model that is sound but that the chosen route cannot take."""


class UnknownNameError(EdgeCompileError):
    """A target, recipe key or range method that does not exist."""

    def __init__(self, kind: str, name: str, known: Iterable[str], where: str = "") -> None:
        """Name the wrong word, the nearest right one, and all right ones."""
        names = sorted(known)
        near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
        place = f"{where}: " if where else ""
        hint = f"did you mean '{near[0]}'? " if near else ""
        super().__init__(f"{place}no {kind} named '{name}'; {hint}known: {', '.join(names)}")


class PruneError(EdgeCompileError):
    """Units or layers that cannot be taken out of a graph."""


class MissingRuntimeError(EdgeCompileError):
    """An engine whose runtime is not installed here, or too old for the target."""

    def __init__(self, engine: str, fault: str = "is not installed", package: str = "") -> None:
        """Name the engine, and the package or extra that brings it."""
        super().__init__(f"{engine} {fault}: pip install '{package or f'edgecompile[{engine}]'}'")


class EmulationError(EdgeCompileError):
    """An emulated run that gave no answer: the build goes on without it, and says so."""


class IllegalInstructionError(EmulationError):
    """An emulated run that met an instruction which the board's CPU has not."""


class SmokeError(EdgeCompileError):
    """A smoke test that could not judge: a runtime that is missing, a file that is not the one."""


class FetchError(EdgeCompileError):
    """Something that could not be fetched or made in the user's cache."""


class CacheError(EdgeCompileError):
    """A cache of finished stages that is asked to be what it cannot be."""


class DamagedError(CacheError):
    """An entry of the cache whose files are not those that were written: it is made again."""


class ToolchainError(EdgeCompileError):
    """A vendor's compiler that cannot be had, does not run, or gave no sound artifact."""


class WorkerError(ToolchainError):
    """A vendor's compiler that ran and refused: the message is its own."""


class PluginError(EdgeCompileError):
    """An outside package that offers an engine and cannot be used."""


class DistillError(EdgeCompileError):
    """A training that cannot start, go on or be resumed."""


class StoppedError(EdgeCompileError):
    """A training that a signal ended: its checkpoint is written."""

    def __init__(self, message: str, exit_code: int) -> None:
        """Keep the exit code of the signal: 130 or 143."""
        super().__init__(message)
        self.exit_code = exit_code


class GateError(EdgeCompileError):
    """An artifact that is not accurate enough: nothing is written."""

    exit_code = 3


class BudgetError(EdgeCompileError):
    """A bundle over its budget, or worse than the one before: the bundle is kept."""

    exit_code = 3

    def __init__(self, message: str, found: Sequence[object] = ()) -> None:
        """Keep what did not hold: verdicts of budgets, or changes for the worse."""
        super().__init__(message)
        self.found = tuple(found)


class RebuildError(EdgeCompileError):
    """A bundle that the same inputs do not give again."""

    exit_code = 3


class InputError(EdgeCompileError):
    """An input of a rebuild that is not the one that the bundle was built from."""


class NeedError(EdgeCompileError):
    """A pass was reached before what it needs holds."""

    def __init__(self, name: str, fact: str, found: str, givers: Iterable[str]) -> None:
        """Name the pass, the broken fact, the offender, and the passes that help."""
        hint = ", ".join(sorted(givers)) or "nothing; change the model"
        super().__init__(f"{name} needs: {fact} But {found}. Add before it: {hint}")


class ChangedError(EdgeCompileError):
    """A canonical graph that does not compute what the exported one did: our bug."""

    exit_code = 70

    def __init__(self, output: str) -> None:
        """Name the output."""
        super().__init__(
            f"bug in canonicalise: output '{output}' is not what the exported model gives; nothing"
            " was written; please report the model"
        )


class PromiseError(EdgeCompileError):
    """A pass did not do what its `gives` says: a bug in the pass."""

    exit_code = 70

    def __init__(self, name: str, fact: str, found: str) -> None:
        """Name the pass, the promise and the offender."""
        super().__init__(f"bug in {name}: it promised: {fact} But {found}.")


class RemoteError(EdgeCompileError):
    """A board that cannot be reached over ssh, or cannot run the bundle."""

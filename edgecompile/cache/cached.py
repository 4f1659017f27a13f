"""Make a stage's result, or take it from the cache: one function, `cached`, for all stages."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from edgecompile.cache.digest import digest
from edgecompile.cache.store import Store
from edgecompile.errors import DamagedError
from edgecompile.trace import Trace

T = TypeVar("T")

WARNING = "warning"


@dataclass(slots=True)
class Cache:
    """The stages of one build: where finished ones are kept, and whom to tell.

    Without a `store` nothing is kept. Where not `read`, all is made anew, and kept. `sound` says
    whether the inputs are still those that were hashed: if not, nothing is kept either.
    """

    trace: Trace
    store: Store | None = None
    read: bool = True
    sound: Callable[[], bool] = lambda: True
    _told: dict[str, None] = field(default_factory=dict)
    _open: list[dict[str, None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Hear what the build warns of: who takes a stage from the cache is warned as well."""
        say = self.trace.say

        def hear(stage: str, what: str) -> None:
            if stage == WARNING:
                for heard in (self._told, *self._open):
                    heard[what] = None
            say(stage, what)

        self.trace.say = hear

    def cached(  # noqa: PLR0917 - a stage, what it depends on, how it is made and kept
        self,
        stage: str,
        what: str,
        key: Mapping[str, Any],
        make: Callable[[], T],
        write: Callable[[T, Path], None],
        read: Callable[[Path], T],
    ) -> T:
        """Return what `make` gives or, where the same was made before, what `read` finds of it.

        `key` is all that the result depends on, as plain data; `write` and `read` keep it in a
        folder. `what` is how the build calls it. A disk that is full, closed or damaged costs a
        warning, never the build.
        """
        if self.store is None:
            return make()
        name = f"{stage}-{digest(key)}"
        found = self._find(self.store, name, what, read) if self.read else None
        if found is not None:
            return found
        with self._listening() as warnings:
            value = make()
        if self.store is not None:  # it was not given up meanwhile
            self._keep(self.store, name, lambda folder: write(value, folder), list(warnings))
        return value

    def once(self, make: Callable[[], T]) -> Callable[[], T]:
        """Return a function that makes a value when it is first asked for.

        Whatever stage asks, the warnings that came with the value are its own too.
        """
        made: list[tuple[T, list[str]]] = []

        def ask() -> T:
            if not made:
                with self._listening() as warnings:
                    value = make()
                made.append((value, list(warnings)))
            value, kept = made[0]
            self._warn(kept)
            return value

        return ask

    def _find(self, store: Store, name: str, what: str, read: Callable[[Path], T]) -> T | None:
        entry = None
        try:
            entry = store.open(name)
            if entry is None:
                return None
            value = read(entry.folder)
        except DamagedError as error:
            self._say(WARNING, f"cache: {store.folder / name}: {error}; it is made again")
            return None
        except OSError as error:
            if entry is None or entry.stands():
                self._give_up(f"cache: {_told(error, store)}; the build goes on without it")
            return None
        if not entry.stands():  # what was read may be half of it, half of another
            return None
        self._say("cached", f"{what}, made {_minute(entry.made)}")
        self._warn(entry.warnings)
        return value

    def _keep(
        self, store: Store, name: str, write: Callable[[Path], None], warnings: Sequence[str]
    ) -> None:
        if not self.sound():
            self._give_up("cache: an input was changed during the build; nothing is kept")
            return
        try:
            store.keep(name, write, warnings)
        except OSError as error:
            self._give_up(f"cache: {_told(error, store)}; the build goes on without it")

    def _give_up(self, why: str) -> None:
        """Go on without a cache: one line says why, however many stages there are."""
        self._say(WARNING, why)
        self.store = None

    def _say(self, stage: str, what: str) -> None:
        """Tell of the cache itself: no stage inherits that."""
        kept, self._open = self._open, []
        try:
            self.trace.say(stage, what)
        finally:
            self._open = kept

    def _warn(self, lines: Sequence[str]) -> None:
        """Warn again of what is known already: aloud only if this build has not done so."""
        for line in lines:
            if line not in self._told:
                self.trace.say(WARNING, line)
            for heard in self._open:
                heard[line] = None

    @contextmanager
    def _listening(self) -> Iterator[dict[str, None]]:
        heard: dict[str, None] = {}
        self._open.append(heard)
        try:
            yield heard
        finally:
            self._open = [other for other in self._open if other is not heard]


def _told(error: OSError, store: Store) -> str:
    return f"{error.filename or store.folder}: {error.strerror or error}"


def _minute(made: str) -> str:
    return f"{made[:16].replace('T', ' ')} UTC"

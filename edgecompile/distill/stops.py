"""Signals that end a training: the step is finished first, and a checkpoint written."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

CODES = {signal.SIGINT: 130, signal.SIGTERM: 143}


@dataclass(slots=True)
class Stop:
    """The signal that came, if one did."""

    number: int = 0

    @property
    def exit_code(self) -> int:
        """Return what a process that the signal ended gives."""
        return CODES.get(signal.Signals(self.number), 1) if self.number else 143

    @property
    def name(self) -> str:
        """Return the signal's name."""
        return signal.Signals(self.number).name if self.number else "another process"


@contextmanager
def watch_signals() -> Iterator[Stop]:
    """Note SIGINT and SIGTERM instead of stopping at once; a second one does stop at once."""
    stop = Stop()

    def note(number: int, _frame: object) -> None:
        if stop.number:
            raise KeyboardInterrupt(*(["SIGTERM"] if number == signal.SIGTERM else []))
        stop.number = number

    before = {number: signal.signal(number, note) for number in CODES}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

"""What happens during a build: said aloud, kept for the manifest, and dumped on demand."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from edgecompile.errors import OutputError
from edgecompile.step import Step

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(slots=True)
class Trace:
    """What happens during a build: says it aloud, keeps each step, writes each step's graph."""

    say: Callable[[str, str], None] = lambda _stage, _what: None
    dump: Path | None = None
    steps: list[Step] = field(default_factory=list)
    dumped: int = 0

    @contextmanager
    def step(self, stage: str, name: str) -> Iterator[Callable[["ir.Model"], None]]:
        """Time a step that is not a pass; call what is yielded with the model it leaves."""
        from edgecompile.graph import weight_bytes

        start = time.perf_counter()

        def done(model: "ir.Model") -> None:
            seconds = round(time.perf_counter() - start, 4)
            size = weight_bytes(model.graph.initializers.values())
            self.add(Step(stage, name, seconds, len(model.graph), size), model)

        yield done

    def add(self, step: Step, model: "ir.Model") -> None:
        """Keep a step; dump its graph as NNN_stage_pass.onnx."""
        self.steps.append(step)
        if self.dump is not None:
            import onnx_ir as ir

            self.dumped += 1
            name = f"{self.dumped:03}_{step.stage.replace('/', '-')}_{step.name}.onnx"
            try:
                self.dump.mkdir(parents=True, exist_ok=True)
                ir.save(model, self.dump / name)
            except OSError as error:
                msg = f"{self.dump}: cannot write there: {error.strerror}; choose another --dump"
                raise OutputError(msg) from error

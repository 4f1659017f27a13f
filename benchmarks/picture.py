"""Draw what `make demo` shows on a terminal as docs/build.svg, from a build that runs now.

python benchmarks/picture.py
"""

import os
import re
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

from edgecompile import pipeline
from edgecompile.recipe import Recipe
from edgecompile.report import terminal

ROOT = Path(__file__).parents[1]
MODEL = Path("models/all-MiniLM-L6-v2")
TARGETS = ["x86-64", "raspberry-pi-5"]


def main() -> None:
    """Build, record, draw."""
    os.chdir(ROOT)
    console = Console(record=True, width=108, force_terminal=True, highlight=False)
    options = " ".join(f"-t {name}" for name in TARGETS)
    console.print(f"[green]$[/] edgecompile build {MODEL} {options}")
    start = time.perf_counter()

    def say(stage: str, what: str) -> None:
        line = Text.assemble(
            (f"{time.perf_counter() - start:6.1f} s ", "dim"), (f"{stage:12} ", "bold"), what
        )
        console.print(line)

    with tempfile.TemporaryDirectory() as scratch:
        trace = pipeline.Trace(say)
        built = pipeline.build(MODEL, TARGETS, Path(scratch) / "dist", Recipe(), trace)
        rows = [terminal.summary(bundle.manifest, bundle.profile) for bundle in built]
    console.print(terminal.build_table(rows))
    svg = console.export_svg(title="edgecompile")
    path = ROOT / "docs" / "build.svg"
    path.parent.mkdir(exist_ok=True)
    # The picture must not fetch a font: drop rich's @font-face rules.
    path.write_text(re.sub(r"@font-face \{.*?\}\s*", "", svg, flags=re.DOTALL), encoding="utf-8")
    print(f"wrote {path}")


if __name__ == "__main__":
    main()

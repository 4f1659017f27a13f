"""report.html of six bundles: how large it is, and how long Chromium takes to open it.

    python benchmarks/report.py [BUNDLE...]

Without bundles it builds MiniLM for six targets. Needs edgecompile[report], playwright, Chromium.
"""

import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from edgecompile import pipeline
from edgecompile.bundles.report_bundles import report
from edgecompile.recipe import Recipe

MODEL = Path(__file__).parents[1] / "models" / "all-MiniLM-L6-v2"
TARGETS = (
    "x86-64", "x86-64:openvino", "x86-64:litert", "raspberry-pi-5:onnxruntime", "raspberry-pi-5",
    "aarch64",
)  # fmt: skip
REPEATS = 7
LIMIT_BYTES, LIMIT_S = 3_000_000, 1.0
PAINTED = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"


def main(given: list[str]) -> None:
    """Print both figures, and whether they hold."""
    with tempfile.TemporaryDirectory(prefix="edgecompile-") as scratch:
        folders = [Path(name) for name in given] or build(Path(scratch) / "dist")
        page = Path(scratch) / "report.html"
        start = time.perf_counter()
        report(folders, page)
        seconds = time.perf_counter() - start
        size = page.stat().st_size
        print(f"{len(folders)} bundles, one page: {size / 1e6:.2f} MB, written in {seconds:.1f} s")
        times = open_often(page)
    median = statistics.median(times)
    worst = max(times)
    print(f"opened and painted: median of {REPEATS} {median:.2f} s, worst {worst:.2f} s")
    print("measured here in Chromium, each time in a new context")
    holds = size <= LIMIT_BYTES and median <= LIMIT_S
    print(f"<= {LIMIT_BYTES / 1e6:.0f} MB and <= {LIMIT_S:.0f} s: {'holds' if holds else 'MISSED'}")
    sys.exit(0 if holds else 3)


def build(output: Path) -> list[Path]:
    """Build MiniLM for all targets."""
    built = pipeline.build(MODEL, TARGETS, output, Recipe(), pipeline.Trace())
    return [bundle.folder for bundle in built]


def open_often(page: Path) -> list[float]:
    """Return the seconds from asking for a page until it is loaded and painted."""
    from playwright.sync_api import sync_playwright

    times = []
    with sync_playwright() as driver:
        program = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        for _ in range(REPEATS):
            tab = browser.new_context(viewport={"width": 1200, "height": 900}).new_page()
            start = time.perf_counter()
            tab.goto(page.as_uri(), wait_until="load")
            tab.evaluate(PAINTED)
            times.append(time.perf_counter() - start)
            tab.context.close()
        browser.close()
    return times


if __name__ == "__main__":
    main(sys.argv[1:])

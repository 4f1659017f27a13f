"""docs/report.png, the README's picture of a report: the top of a bundle's page in Chromium.

python benchmarks/picture_report.py dist/all-MiniLM-L6-v2-x86-64
"""

import shutil
import sys
from pathlib import Path

OUTPUT = Path(__file__).parents[1] / "docs" / "report.png"
WIDTH, HEIGHT = 1032, 1330


def main(bundle: str) -> None:
    """Write the picture."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        program = shutil.which("chromium")
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        page.goto((Path(bundle).absolute() / "report.html").as_uri())
        page.screenshot(path=OUTPUT)
        browser.close()
    print(f"wrote {OUTPUT}")


if __name__ == "__main__":
    main(sys.argv[1])

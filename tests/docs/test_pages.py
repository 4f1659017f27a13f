"""The pages keep their word: examples run, commands and keys exist, none is left out."""

import doctest
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from edgecompile import recipe as recipes
from edgecompile.cli.main import cli

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
NAMES = [page.relative_to(DOCS).as_posix() for page in PAGES]


@pytest.mark.parametrize("page", PAGES, ids=NAMES)
def test_the_examples_hold(page: Path, built: Path, tmp_path: Path) -> None:
    """Each `>>>` is run, with a tiny model, its recipe and a folder under the names they use."""
    given = {
        "model": built / "model",
        "recipe": built / "edgecompile.toml",
        "dist": tmp_path,
    }
    found = doctest.testfile(str(page), module_relative=False, globs=given)
    assert found.failed == 0


def test_there_are_examples_to_hold() -> None:
    """In the tutorial, for one."""
    assert ">>> " in (DOCS / "tutorial" / "own-model.md").read_text()


def test_every_command_and_option_exists() -> None:
    """Those in blocks and in sentences; a renamed option must be renamed here."""
    found = list(commands())
    assert len(found) >= 25
    for page, line in found:
        name, *words = shlex.split(line, comments=True)[1:]
        assert name in cli.commands, f"{page}: {line}"
        flags = {flag for p in cli.commands[name].params for flag in (*p.opts, *p.secondary_opts)}
        given = {word.partition("=")[0] for word in words if re.fullmatch("-{1,2}[a-z].*", word)}
        assert given <= flags | {"--help"}, f"{page}: {line}"


def commands() -> Iterator[tuple[str, str]]:
    """Yield each line of a page that is a command of ours."""
    for name, page in zip(NAMES, PAGES, strict=True):
        text = page.read_text(encoding="utf-8")
        lines = re.findall(r"^    (edgecompile [a-z].*)$", text, re.MULTILINE)
        lines += re.findall(r"`(edgecompile [a-z-]+(?: [^`\n]*)?)`", text)
        yield from ((name, line) for line in lines)


def test_the_recipes_are_valid(tmp_path: Path) -> None:
    """Each block of TOML that is a recipe."""
    blocks = [b for p in PAGES for b in re.findall(r"```toml\n(.*?)```", p.read_text(), re.DOTALL)]
    assert len(blocks) >= 4
    path = tmp_path / "edgecompile.toml"
    for block in blocks:
        path.write_text(block)
        recipes.read(path)


def test_every_page_is_in_the_navigation() -> None:
    """And no other."""

    def pages(nav: object) -> Iterator[str]:
        if isinstance(nav, str):
            yield nav
        elif isinstance(nav, list | dict):
            for each in nav.values() if isinstance(nav, dict) else nav:
                yield from pages(each)

    loaded = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))
    assert sorted(pages(loaded["nav"])) == NAMES


def test_every_command_says_what_it_does() -> None:
    """The reference of the command line is made of their help."""
    for name, command in cli.commands.items():
        assert isinstance(command, click.Command)
        assert command.help, name
        for option in command.params:
            assert isinstance(option, click.Argument) or option.help, f"{name} {option.name}"  # type: ignore[attr-defined]

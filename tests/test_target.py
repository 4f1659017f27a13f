"""Targets: one file each, a table for each engine, and each mistake in one is named."""

import importlib
import re
import tomllib
from pathlib import Path

import pytest

from edgecompile import target
from edgecompile.errors import EdgeCompileError, RecipeError, UnknownNameError, UnsupportedError
from edgecompile.lower.onnxruntime import FORMS
from edgecompile.opset import ir_version_of
from edgecompile.plugins import engine_names

FILES = sorted(target.targets_dir().glob("*.toml"))

GOOD = """
description  = "a board"
engine       = "onnxruntime"
isa          = "aarch64"
cpu_features = ["asimd", "asimddp"]

[onnxruntime]
activation   = "int8"
weight       = "int8"
opset        = 18
runtime      = ">=1.17"

[onnxruntime.forms]
attention = "packed"
gelu      = "erf"
"""
OTHER = """
[openvino]
activation = "uint8"
weight     = "int8-pairs"
opset      = 20
runtime    = ">=2026.4"
forms      = {attention = "channels-first", linear = "convolution"}
"""
OF_MACHINE = ("description", "engine", "isa")
OF_ENGINE = ("activation", "weight", "opset", "runtime")
EACH = [(path, engine) for path in FILES for engine in target.engines(path.stem)]
each_engine = pytest.mark.parametrize(
    ("path", "engine"), EACH, ids=lambda value: value if isinstance(value, str) else value.stem
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a folder of a test's own in the place of targets/."""
    monkeypatch.setattr(target, "targets_dir", lambda: tmp_path)
    return tmp_path


ENGINES = engine_names()


def message(folder: Path, text: str) -> str:
    """Return the message of a wrong target file, its path written as T."""
    path = folder / "board.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(EdgeCompileError) as caught:
        target.load("board")
    assert caught.value.exit_code == 1
    return str(caught.value).replace(str(path), "T")


@each_engine
def test_every_target_file_loads(path: Path, engine: str) -> None:
    """Each file of targets/ is a target named after it, with all that its tables say."""
    tables = tomllib.loads(path.read_text(encoding="utf-8"))
    table = tables[engine]
    top = {key: value for key, value in tables.items() if not isinstance(value, dict)}
    found = target.load(f"{path.stem}:{engine}")
    preferred = engine == top.pop("engine")
    assert found.name == (path.stem if preferred else f"{path.stem}:{engine}")
    assert found.folder == (path.stem if preferred else f"{path.stem}-{engine}")
    assert found.engine == engine
    assert {k: getattr(found.forms, k) for k in table["forms"]} == table.pop("forms")
    lists = {k: tuple(v) for k, v in (top | table).items() if isinstance(v, list)}
    assert {k: getattr(found, k) for k in top | table} == top | table | lists


@each_engine
def test_every_target_names_what_exists(path: Path, engine: str) -> None:
    """A target's engine can be emitted for, its opset is one of onnx, its runtime a version."""
    found = target.load(f"{path.stem}:{engine}")
    assert callable(importlib.import_module(f"edgecompile.emit.{found.engine}").write)
    assert ir_version_of(found.opset) > 0
    assert re.fullmatch(r">=\d+\.\d+", found.runtime)
    assert all((found.isa, found.description))


def test_names_are_those_of_the_files(folder: Path) -> None:
    """A new target is one new file: its name is the target's, and the folder is read in order."""
    for name in ("b-board", "a-board"):
        (folder / f"{name}.toml").write_text(GOOD, encoding="utf-8")
    (folder / "README.md").write_text("no target", encoding="utf-8")
    assert target.names() == ["a-board", "b-board"]
    assert target.load("b-board").name == "b-board"
    assert target.path_of("a-board") == folder / "a-board.toml"


@pytest.mark.parametrize("name", target.waiting())
def test_a_target_without_an_engine_says_what_its_compiler_needs(name: str) -> None:
    """One line, and no other target has the name."""
    with pytest.raises(UnsupportedError) as caught:
        target.load_each(name)
    assert str(caught.value).startswith(f"{name} (")
    assert str(caught.value).endswith(target.waiting()[name].needs)
    assert name not in target.names()


def test_committed_targets_are_found() -> None:
    """The package finds its own targets."""
    assert FILES
    assert target.names() == sorted(path.stem for path in FILES)


def test_forms_and_features_have_defaults(folder: Path) -> None:
    """A target may leave out its forms and its CPU's features."""
    text = re.sub(r"cpu_features.*\n", "", GOOD.partition("[onnxruntime.forms]")[0])
    (folder / "board.toml").write_text(text, encoding="utf-8")
    found = target.load("board")
    assert (found.forms, found.cpu_features) == (target.Forms(), ())


def test_a_file_may_hold_several_engines(folder: Path) -> None:
    """Without a word the preferred one; others by name; "fastest" means each in its turn."""
    (folder / "board.toml").write_text(GOOD + OTHER, encoding="utf-8")
    (folder / "plain.toml").write_text(GOOD, encoding="utf-8")
    assert target.engines("board") == ["onnxruntime", "openvino"]
    assert target.load("board") == target.load("board:onnxruntime")
    other = target.load("board:openvino")
    assert (other.engine, other.opset, other.isa) == ("openvino", 20, "aarch64")
    assert target.load_each("board:openvino") == [other]
    assert target.load_each("board:fastest") == [target.load("board"), other]
    assert target.load_each("plain:fastest") == [target.load("plain")]
    assert target.names() == ["board", "plain"]
    assert target.completions() == ["board", "board:openvino", "board:fastest", "plain"]


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("board:qnn", "no engine of board named 'qnn'; known: onnxruntime, openvino"),
        ("board:", "no engine of board named ''; known: onnxruntime, openvino"),
        ("board:opnvino", "no engine of board named 'opnvino'; did you mean 'openvino'? known: "),
        ("bord:openvino", "no target named 'bord'; did you mean 'board'? known: board"),
        ("bord:fastest", "no target named 'bord'; did you mean 'board'? known: board"),
    ],
)
def test_an_unknown_engine_is_named(folder: Path, name: str, line: str) -> None:
    """An engine that the target has not: its name, the nearest one, and the target's."""
    (folder / "board.toml").write_text(GOOD + OTHER, encoding="utf-8")
    with pytest.raises(UnknownNameError) as caught:
        target.load_each(name)
    assert str(caught.value).startswith(line)


def test_a_table_of_no_engine_is_named(folder: Path) -> None:
    """A slip in a table's name, and a preferred engine without a table."""
    assert message(folder, GOOD + OTHER.replace("[openvino]", "[openvno]")) == (
        f"T: no engine named 'openvno'; did you mean 'openvino'? known: {', '.join(ENGINES)}"
    )
    assert message(folder, GOOD.partition("[onnxruntime]")[0]) == (
        "T: engine is 'onnxruntime', but there is no table [onnxruntime]"
    )


def test_forms_are_those_of_the_engine(folder: Path) -> None:
    """A form that only another engine has is not known to this one."""
    text = GOOD.replace('"packed"', '"channels-first"')
    assert message(folder, text) == (
        "T, [onnxruntime.forms]: no attention named 'channels-first'; known: operator, packed"
    )


def test_unknown_target_names_the_nearest(folder: Path) -> None:
    """A target that does not exist: its name, the nearest one, and all of them."""
    for name in ("raspberry-pi-4", "x86-64"):
        (folder / f"{name}.toml").write_text(GOOD, encoding="utf-8")
    with pytest.raises(UnknownNameError) as caught:
        target.load("rasberry-pi4")
    assert str(caught.value) == (
        "no target named 'rasberry-pi4'; did you mean 'raspberry-pi-4'?"
        " known: raspberry-pi-4, x86-64"
    )
    with pytest.raises(UnknownNameError, match=r"^no target named '\.\./x86-64'; "):
        target.load("../x86-64")


@pytest.mark.parametrize("key", OF_MACHINE + OF_ENGINE)
def test_missing_key_is_named(folder: Path, key: str) -> None:
    """A target file without a key that it must have: the file, the table and the key."""
    text = re.sub(rf"^{key} .*\n", "", GOOD, flags=re.MULTILINE)
    place = "T" if key in OF_MACHINE else "T, [onnxruntime]"
    assert message(folder, text) == f"{place}: key '{key}' is missing"


def test_unknown_key_is_named(folder: Path) -> None:
    """A key that targets do not have: the file, the key and the nearest one."""
    found = message(folder, GOOD.replace("opset ", "opsets"))
    assert found == (
        "T, [onnxruntime]: no key named 'opsets'; did you mean 'opset'?"
        " known: activation, chip, longest, opset, runtime, weight"
    )


def test_unknown_form_is_named(folder: Path) -> None:
    """A key that [forms] does not have is named with those that it has."""
    assert message(folder, GOOD.replace("gelu ", "gellu")) == (
        "T, [onnxruntime.forms]: no key named 'gellu'; did you mean 'gelu'?"
        " known: attention, channels, gelu, linear, tables"
    )


@pytest.mark.parametrize("key", [*target.CHOICES, "attention", "gelu"])
def test_unknown_choice_is_named(folder: Path, key: str) -> None:
    """A value that is none of a key's choices: the file, key, value and all choices."""
    text = re.sub(rf"^{key} +=.*$", f'{key} = "qqqq"', GOOD, flags=re.MULTILINE)
    known = ", ".join(sorted((target.CHOICES | FORMS)[key]))
    place = "[onnxruntime]" if key in target.CHOICES else "[onnxruntime.forms]"
    assert message(folder, text) == f"T, {place}: no {key} named 'qqqq'; known: {known}"


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('opset = "18"', "T, [onnxruntime] opset: must be a whole number, found '18'"),
        ("opset = 99", "T, [onnxruntime] opset: must lie between 17 and 23"),
        ("isa = 3", "T, isa: must be a text, found 3"),
        ('cpu_features = "avx2"', "T, cpu_features: must be a list, found 'avx2'"),
        (
            'runtime = "1.17"',
            "T, [onnxruntime] runtime: must look like '>=1.24', found '1.17'",
        ),
        ('engine = "nope"', "T: engine is 'nope', but there is no table [nope]"),
    ],
)
def test_wrong_values_are_named(folder: Path, line: str, found: str) -> None:
    """A value of the wrong type, or that nothing can be made of: file, key, value."""
    key = line.split(maxsplit=1)[0]
    assert message(folder, re.sub(rf"^{key} +=.*$", line, GOOD, flags=re.MULTILINE)) == found


def test_a_name_is_the_files_own(folder: Path) -> None:
    """A target is named by its file: a key for it is not known."""
    assert message(folder, 'name = "x"\n' + GOOD).startswith("T: no key named 'name'; ")


def test_near_choice_is_suggested(folder: Path) -> None:
    """A slip in a value is answered with the choice that was meant."""
    assert message(folder, GOOD.replace('"packed"', '"pakced"')) == (
        "T, [onnxruntime.forms]: no attention named 'pakced'; did you mean 'packed'?"
        " known: operator, packed"
    )


def test_broken_toml_is_named(folder: Path) -> None:
    """A file that is not TOML: its path and the parser's reason."""
    (folder / "board.toml").write_text("engine = \n", encoding="utf-8")
    with pytest.raises(RecipeError, match=r"board\.toml: not valid TOML: "):
        target.load("board")


def test_reference_uses_forms_that_targets_may_use() -> None:
    """The float reference is a target like any other: its values are known choices."""
    reference = target.REFERENCE
    assert all(getattr(reference, key) in known for key, known in target.CHOICES.items())
    assert all(getattr(reference.forms, key) in known for key, known in FORMS.items())

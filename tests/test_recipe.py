"""Recipes: every key has a default, and each mistake is one line that names it."""

import json
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import pytest

from edgecompile import recipe as recipes
from edgecompile.errors import EdgeCompileError, RecipeError, UnknownNameError
from edgecompile.recipe import QUANTIZE, Recipe

DATA_KEYS = "column, data, samples"
GATE_KEYS = "agreement, cosine_mean, next_token, signal"
TABLES = [f.name for f in fields(Recipe) if f.name not in recipes.BESIDE]


@pytest.fixture
def write(tmp_path: Path) -> Path:
    """Return the path that a test's recipe is written to."""
    return tmp_path / "edgecompile.toml"


def read(path: Path, text: str) -> Recipe:
    """Write and read a recipe."""
    path.write_text(text, encoding="utf-8")
    return recipes.read(path)


def message(path: Path, text: str) -> str:
    """Return the message of a wrong recipe, its path written as R."""
    with pytest.raises(EdgeCompileError) as caught:
        read(path, text)
    assert caught.value.exit_code == 1
    return str(caught.value).replace(str(path), "R")


def keys_of(name: str) -> Any:
    """Return a table of defaults; of [budget], which has tables inside, that of all targets."""
    table = getattr(Recipe(), name)
    return table.all if name == "budget" else table


def test_empty_recipe_is_all_defaults(write: Path) -> None:
    """Every key has a default: an empty file is a recipe."""
    assert read(write, "") == Recipe(folder=write.parent)


@pytest.mark.parametrize("name", TABLES)
def test_empty_table_is_its_defaults(write: Path, name: str) -> None:
    """A table without keys changes nothing."""
    found = read(write, f"[{name}]\n")
    assert found == Recipe(folder=write.parent, distils=name == "distill")


@pytest.mark.parametrize("name", TABLES)
def test_defaults_written_out_change_nothing(write: Path, name: str) -> None:
    """A default written into the file is accepted as what it is."""
    table = keys_of(name)
    assert is_dataclass(table)
    values = {f.name: getattr(table, f.name) for f in fields(table)}
    lines = [f"{key} = {json.dumps(v)}" for key, v in values.items() if v is not None]
    text = "\n".join([f"[{name}]", *lines])
    assert read(write, text) == Recipe(folder=write.parent, distils=name == "distill")


def test_values_are_read(write: Path) -> None:
    """Values of every type arrive; lists become tuples, and an integer may stand for a float."""
    found = read(
        write,
        '[model]\nsource = "m"\n[shapes]\nsequence = [8, 512]\n[calibration]\nsamples = 3\n'
        '[quantize]\nscheme = "none"\n[gate]\ncosine_mean = 1\nagreement = 0.5\n'
        '[profile]\nsequence = [7]\nrepeats = 1\n[targets]\nnames = ["a", "b"]\n',
    )
    assert (found.model.source, found.shapes.sequence) == ("m", (8, 512))
    assert (found.calibration.samples, found.quantize.scheme) == (3, "none")
    assert (found.gate.cosine_mean, found.gate.agreement) == (1, 0.5)
    assert (found.profile.sequence, found.profile.repeats) == ((7,), 1)
    assert found.targets.names == ("a", "b")


def test_paths_are_relative_to_the_recipe(write: Path) -> None:
    """A recipe's paths start where it lies; absolute ones stay."""
    found = read(write, "")
    assert found.path("data/x.jsonl") == write.parent / "data" / "x.jsonl"
    assert found.path("/data/x.jsonl") == Path("/data/x.jsonl")


def test_unknown_table_names_the_nearest(write: Path) -> None:
    """A table that does not exist: its name, the nearest one, and all of them."""
    known = ", ".join(sorted(f"[{name}]" for name in TABLES))
    assert message(write, "[calibratoin]\n") == (
        f"R: no table named '[calibratoin]'; did you mean '[calibration]'? known: {known}"
    )
    assert message(write, "[xyz]\n") == f"R: no table named '[xyz]'; known: {known}"


def test_key_outside_all_tables_is_no_table(write: Path) -> None:
    """A key above the first table is reported, not ignored."""
    assert message(write, "xyz = 1\n").startswith("R: no table named '[xyz]'; known: ")


@pytest.mark.parametrize("name", TABLES)
def test_unknown_key_names_the_known_ones(write: Path, name: str) -> None:
    """A key that a table lacks: the table, the key, and all that it has."""
    known = ", ".join(sorted(f.name for f in fields(keys_of(name))))
    found = message(write, f"[{name}]\nqqqq = 1\n")
    assert found == f"R, [{name}]: no key named 'qqqq'; known: {known}"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            "[calibration]\nsample = 4\n",
            "R, [calibration]: no key named 'sample'; did you mean 'samples'? known: " + DATA_KEYS,
        ),
        (
            "[gate]\ncosine = 0.5\n",
            "R, [gate]: no key named 'cosine'; did you mean 'cosine_mean'? known: " + GATE_KEYS,
        ),
    ],
)
def test_unknown_key_names_the_nearest(write: Path, text: str, found: str) -> None:
    """A slip of the pen is answered with the key that was meant."""
    assert message(write, text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("model = 1\n", "R: 'model' is a table; write [model] and its keys below"),
        ("[[model]]\n", "R: 'model' is a table; write [model] and its keys below"),
        ("[shapes]\nsequence = 512\n", "R, [shapes] sequence: must be a list, found 512"),
        ("[targets]\nnames = 'a'\n", "R, [targets] names: must be a list, found 'a'"),
        ("[gate]\ncosine_mean = '1'\n", "R, [gate] cosine_mean: must be a number, found '1'"),
        ("[gate]\nagreement = true\n", "R, [gate] agreement: must be a number, found True"),
    ],
)
def test_wrong_type_names_key_and_value(write: Path, text: str, found: str) -> None:
    """A value of the wrong type: where it is, what it must be, and what was found."""
    assert message(write, text) == found


@pytest.mark.parametrize(
    ("table", "key", "value"),
    [
        ("model", "source", "1"),
        ("model", "tokenizer", "[]"),
        ("calibration", "samples", "4.0"),
        ("calibration", "samples", "true"),
        ("shapes", "sequence", "[1, '2']"),
        ("shapes", "sequence", "[1, 2.0]"),
        ("profile", "repeats", "'9'"),
        ("targets", "names", "[1]"),
        ("quantize", "scheme", "8"),
        ("evaluate", "data", "false"),
    ],
)
def test_every_type_is_checked(write: Path, table: str, key: str, value: str) -> None:
    """Strings, integers and the items of lists are checked too; a boolean is no number."""
    found = message(write, f"[{table}]\n{key} = {value}\n")
    assert found.startswith(f"R, [{table}] {key}: must be ")
    assert ", found " in found
    assert "\n" not in found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        *(
            (
                f"[shapes]\nsequence = {wrong}\n",
                "R, [shapes] sequence: must be [shortest, longest], for example [8, 512]",
            )
            for wrong in ("[]", "[8]", "[0, 8]", "[9, 8]", "[1, 2, 3]")
        ),
        (
            "[shapes]\nbuckets = [16, 1024]\n",
            "R, [shapes] buckets: must lie between 1 and 512, the longest sequence",
        ),
        ("[calibration]\nsamples = 0\n", "R, [calibration] samples: must be at least 1"),
        (
            "[prune]\nlatency = 1.5\n",
            "R, [prune] latency: must lie between 0 and 1, for example 0.6",
        ),
        (
            "[prune]\nsize = '12'\n",
            "R, [prune] size: must look like '12 MB', found '12'",
        ),
        (
            "[prune]\nlatency = 0.5\nffn = 0.5\n",
            "R, [prune] latency and ffn and heads: give one of them",
        ),
        (
            "[prune]\nthreshold = 0.5\n",
            "R, [prune] threshold: is of norms; it goes with importance = 'magnitude'",
        ),
        ("[prune]\nlayers = -1\n", "R, [prune] layers: must be at least 0"),
        (
            "[prune]\nvocabulary_min_count = 0\n",
            "R, [prune] vocabulary_min_count: must be at least 1",
        ),
        ("[profile]\nrepeats = 0\n", "R, [profile] repeats: must be at least 1"),
        (
            "[profile]\ninferences_a_day = -1\n",
            "R, [profile] inferences_a_day: must be at least 0",
        ),
        (
            "[profile]\ncountry = 'Germany'\n",
            'R, [profile] country: must look like "DEU" (ISO 3166, three letters), found "Germany"',
        ),
        *(
            (
                f"[profile]\nsequence = {wrong}\n",
                "R, [profile] sequence: must be a list of token counts, for example [16, 128]",
            )
            for wrong in ("[]", "[16, 0]")
        ),
        (
            "[quantize]\nscheme = 'int9'\n",
            "R, [quantize] scheme: 'int9' is not known; known: " + ", ".join(QUANTIZE["scheme"]),
        ),
        ("[quantize]\nladder = 1\n", "R, [quantize] ladder: must be true or false, found 1"),
        (
            "[quantize]\nrounding = 'up'\n",
            "R, [quantize] rounding: 'up' is not known; known: nearest, gptq",
        ),
        *(
            (f"[gate]\n{key} = {wrong}\n", f"R, [gate] {key}: must lie between 0 and 1")
            for key in ("cosine_mean", "agreement")
            for wrong in ("-0.1", "1.1", "99", "nan", "inf")
        ),
    ],
)
def test_value_out_of_bounds_says_what_it_must_be(write: Path, text: str, found: str) -> None:
    """A value that makes no sense: where it is, and what would."""
    assert message(write, text) == found


@pytest.mark.parametrize(
    "text",
    [
        "[shapes]\nsequence = [1, 1]\n",
        "[calibration]\nsamples = 1\n",
        "[gate]\ncosine_mean = 0\nagreement = 1.0\n",
    ],
)
def test_bounds_themselves_are_allowed(write: Path, text: str) -> None:
    """The least and the greatest allowed value are allowed."""
    read(write, text)


def test_missing_recipe_is_named(tmp_path: Path) -> None:
    """A recipe that is not there, or is a folder: its path and the reason."""
    with pytest.raises(RecipeError) as caught:
        recipes.read(tmp_path / "none.toml")
    reason = "cannot read the recipe: No such file or directory"
    assert str(caught.value) == f"{tmp_path / 'none.toml'}: {reason}"
    with pytest.raises(RecipeError) as caught:
        recipes.read(tmp_path)
    assert str(caught.value) == f"{tmp_path}: cannot read the recipe: Is a directory"


@pytest.mark.parametrize("data", [b"[model\n", b"[model]\nsource = x\n", b"\xff\xfe"])
def test_broken_toml_is_named(write: Path, data: bytes) -> None:
    """What is not TOML, or not text: the file and the parser's reason, on one line."""
    write.write_bytes(data)
    with pytest.raises(RecipeError) as caught:
        recipes.read(write)
    assert str(caught.value).startswith(f"{write}: not valid TOML: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "where", "found"),
    [
        ("rasberry-pi", "", "no board named 'rasberry-pi'; did you mean 'raspberry-pi-5'? known: "),
        ("qqqq", "file", "file: no board named 'qqqq'; known: "),
        ("", "", "no board named ''; known: "),
    ],
)
def test_unknown_name_suggests_the_nearest(name: str, where: str, found: str) -> None:
    """An unknown name is answered with the nearest one if any is near, and all, sorted."""
    error = UnknownNameError("board", name, ["x86-64", "raspberry-pi-5"], where)
    assert str(error) == found + "raspberry-pi-5, x86-64"

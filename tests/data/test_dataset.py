"""The data: which samples calibrate and which judge, always apart."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from edgecompile import files
from edgecompile.data import encoder, source
from edgecompile.data.dataset import FEWEST_GOLDEN, GOLDEN_SAMPLES, Dataset, choose_data, data_dir
from edgecompile.data.feed import Feed
from edgecompile.data.kinds.texts import read_texts
from edgecompile.data.source import known
from edgecompile.errors import DataError
from edgecompile.recipe import CalibrationTable, EvaluateTable, ModelTable, Recipe

LONGEST = 32


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a model's folder: its tokenizer gives each letter's code."""
    folder = tmp_path / "model"
    folder.mkdir()
    vocabulary = {chr(code): code for code in range(256)}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token=chr(0)))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def model() -> ir.Model:
    """Return a model that takes token ids."""
    ids = ir.val("input_ids", ir.DataType.INT64, ["batch", "sequence"])
    return ir.Model(ir.Graph([ids], [], nodes=[], name="model"), ir_version=10)


def texts(path: Path, count: int, prefix: str = "text") -> Path:
    """Write so many texts, each with its number."""
    lines = [f"{prefix} {number}" for number in range(count)]
    if path.suffix == ".jsonl":
        lines = [json.dumps({"text": line}) for line in lines]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def read(feeds: Iterable[Feed]) -> list[str]:
    """Return the texts of feeds."""
    return ["".join(map(chr, feed["input_ids"][0])) for feed in feeds]


def recipe(folder: Path, wanted: int = 4, data: str = "", judge: str = "") -> Recipe:
    """Return a recipe that lies in a folder."""
    return Recipe(
        calibration=CalibrationTable(data=data, samples=wanted),
        evaluate=EvaluateTable(data=judge),
        folder=folder,
    )


def choose(wishes: Recipe, folder: Path) -> Dataset:
    """Choose data for a model that lies in a folder."""
    return choose_data(wishes, model(), folder, LONGEST)


def test_committed_sets_calibrate_and_judge(folder: Path, tmp_path: Path) -> None:
    """Without data of the user's, the committed sets serve: as many as asked for, and 64 judges."""
    data = choose(recipe(tmp_path, wanted=5), folder)
    assert list(data.hashes) == ["calibration/docs.jsonl", "evaluate/golden.jsonl"]
    names = ("docs.jsonl", "golden.jsonl")
    sets = {name: list(read_texts(data_dir() / name)) for name in names}
    assert (len(data.calibration), len(data.golden)) == (5, GOLDEN_SAMPLES)
    assert read(data.calibration) == [text[:LONGEST] for text in sets["docs.jsonl"][:5]]
    assert read(data.golden) == [text[:LONGEST] for text in sets["golden.jsonl"]]


@pytest.mark.parametrize("name", ["own.txt", "own.jsonl"])
def test_own_data_alone_is_split(folder: Path, tmp_path: Path, name: str) -> None:
    """Of a single set, the first samples calibrate and those after them judge: none does both."""
    texts(tmp_path / name, 20)
    data = choose(recipe(tmp_path, wanted=6, data=name), folder)
    assert read(data.calibration) == [f"text {n}" for n in range(6)]
    assert read(data.golden) == [f"text {n}" for n in range(6, 20)]


def test_no_more_judges_than_needed(folder: Path, tmp_path: Path) -> None:
    """Of a large set, 64 samples judge."""
    texts(tmp_path / "own.txt", 200)
    data = choose(recipe(tmp_path, wanted=6, data="own.txt"), folder)
    assert read(data.golden) == [f"text {n}" for n in range(6, 6 + GOLDEN_SAMPLES)]


@pytest.mark.parametrize("count", [3, 6, 6 + FEWEST_GOLDEN - 1])
def test_too_few_samples_to_split(folder: Path, tmp_path: Path, count: int) -> None:
    """A set that leaves too few judges: how many there are, how many are needed, what to do."""
    path = texts(tmp_path / "own.txt", count)
    with pytest.raises(DataError) as caught:
        choose(recipe(tmp_path, wanted=6, data="own.txt"), folder)
    assert str(caught.value) == (
        f"{path}: {count} samples, 6 to calibrate with leave {max(count - 6, 0)} to judge by;"
        f" at least {FEWEST_GOLDEN} are needed: lower [calibration] samples or name [evaluate] data"
    )


def test_fewest_judges_are_enough(folder: Path, tmp_path: Path) -> None:
    """Exactly as many as are needed will do."""
    texts(tmp_path / "own.txt", 6 + FEWEST_GOLDEN)
    assert len(choose(recipe(tmp_path, 6, "own.txt"), folder).golden) == FEWEST_GOLDEN


def test_evaluation_data_judges_alone(folder: Path, tmp_path: Path) -> None:
    """With evaluation data of its own, the calibration data only calibrates."""
    texts(tmp_path / "own.txt", 6)
    texts(tmp_path / "judge.txt", 9, "judge")
    data = choose(recipe(tmp_path, 6, "own.txt", "judge.txt"), folder)
    assert read(data.calibration) == [f"text {n}" for n in range(6)]
    assert read(data.golden) == [f"judge {n}" for n in range(9)]


def test_evaluation_data_with_committed_calibration(folder: Path, tmp_path: Path) -> None:
    """Evaluation data alone judges what the committed set calibrates."""
    texts(tmp_path / "judge.txt", 9, "judge")
    data = choose(recipe(tmp_path, judge="judge.txt"), folder)
    assert read(data.golden) == [f"judge {n}" for n in range(9)]
    assert list(data.hashes) == ["calibration/docs.jsonl", "evaluate/judge.txt"]


def test_too_few_to_judge_by(folder: Path, tmp_path: Path) -> None:
    """A mean over a handful says nothing."""
    path = texts(tmp_path / "judge.txt", 7)
    with pytest.raises(DataError) as caught:
        choose(recipe(tmp_path, judge="judge.txt"), folder)
    assert str(caught.value) == f"{path}: 7 samples to judge by; at least 8 are needed"


def test_fewer_samples_than_asked_for(folder: Path, tmp_path: Path) -> None:
    """Calibration data that runs short: how many it holds and how many were asked for."""
    path = texts(tmp_path / "own.txt", 5)
    texts(tmp_path / "judge.txt", 9)
    with pytest.raises(DataError) as caught:
        choose(recipe(tmp_path, 6, "own.txt", "judge.txt"), folder)
    assert str(caught.value) == f"{path}: holds 5 samples, [calibration] samples asks for 6"


def test_more_than_the_committed_set_holds(folder: Path, tmp_path: Path) -> None:
    """The committed set holds 256: asking for more is named, not silently cut."""
    with pytest.raises(DataError, match=r"holds 256 samples, \[calibration\] samples asks for 257"):
        choose(recipe(tmp_path, wanted=257), folder)


def test_hashes_are_those_of_the_files(folder: Path, tmp_path: Path) -> None:
    """Every file that was read is known by its hash: the manifest holds it."""
    own, judge = texts(tmp_path / "own.txt", 6), texts(tmp_path / "judge.txt", 9)
    data = choose(recipe(tmp_path, 6, "own.txt", "judge.txt"), folder)
    wanted = {"calibration/own.txt": files.sha256(own), "evaluate/judge.txt": files.sha256(judge)}
    assert data.hashes == wanted


def test_the_same_data_cannot_calibrate_and_judge(folder: Path, tmp_path: Path) -> None:
    """Data named for both is refused: an artifact would be judged by what it was fitted to."""
    texts(tmp_path / "own.txt", 9)
    with pytest.raises(DataError, match=r"own\.txt: calibrates and judges at once"):
        choose(recipe(tmp_path, 6, "own.txt", "own.txt"), folder)


@pytest.mark.parametrize("own", [True, False])
def test_missing_data_is_named(folder: Path, tmp_path: Path, own: bool) -> None:  # noqa: FBT001
    """Data that is not there: its path, and the kinds that can be given."""
    wishes = recipe(tmp_path, data="x.txt") if own else recipe(tmp_path, judge="x.txt")
    with pytest.raises(DataError) as caught:
        choose(wishes, folder)
    assert str(caught.value) == (f"{tmp_path / 'x.txt'}: no such file or folder; give {known()}")


def test_unknown_kind_of_data_is_named(folder: Path, tmp_path: Path) -> None:
    """Data of another kind: its path, and the kinds that can be given."""
    path = texts(tmp_path / "x.pdf", 3)
    with pytest.raises(DataError) as caught:
        choose(recipe(tmp_path, data="x.pdf"), folder)
    assert str(caught.value) == (f"{path}: not a known kind of data; give {known()}")


def test_inputs_need_no_tokenizer(tmp_path: Path) -> None:
    """An .npz holds model inputs: it is split like texts, and no tokenizer is looked for."""
    np.savez(tmp_path / "own.npz", input_ids=np.arange(60).reshape(20, 3))
    data = choose(recipe(tmp_path, 6, "own.npz"), tmp_path / "no model here")
    assert [int(feed["input_ids"][0, 0]) for feed in data.calibration] == list(range(0, 18, 3))
    assert [int(feed["input_ids"][0, 0]) for feed in data.golden] == list(range(18, 60, 3))


def test_recipe_names_another_tokenizer(folder: Path, tmp_path: Path) -> None:
    """[model] tokenizer is a folder beside the recipe; the model's own is then not needed."""
    wishes = replace(recipe(folder.parent), model=ModelTable(tokenizer=folder.name))
    assert len(choose(wishes, tmp_path / "no model here").calibration) == 4


def test_tokenizer_is_opened_once(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both sets go through one tokenizer."""
    opened: list[Path] = []
    original = encoder.open_encoder

    def counted(folder: Path, model: ir.Model, longest: int) -> encoder.Encoder:
        opened.append(folder)
        return original(folder, model, longest)

    monkeypatch.setattr(source, "open_encoder", counted)
    choose(recipe(tmp_path), folder)
    assert opened == [folder]

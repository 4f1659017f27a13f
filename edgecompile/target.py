"""A target is one TOML file in `targets/`: what the compiler must know of one kind of machine.

The top of the file is of the machine, and so are [cpu], of a board that can be emulated, and
[latency] and [power], of one whose times and energy are modelled; a table for each engine is of the
engine.
"x86-64" names a target with the engine that its file prefers, "x86-64:openvino" with another.
"""

import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from edgecompile.cpu import Cpu
from edgecompile.errors import RecipeError, UnknownNameError, UnsupportedError
from edgecompile.latency.board import Latency
from edgecompile.plugins import engine_names, folder_of, module_of, packages
from edgecompile.power import Power
from edgecompile.tables import fill, read_toml


@dataclass(frozen=True, slots=True)
class Machine:
    """The top of a target's file; `engine` is the one that it prefers."""

    description: str
    engine: str
    isa: str
    cpu_features: tuple[str, ...] = ()
    cpu: Cpu | None = None
    power: Power | None = None
    latency: Latency | None = None


@dataclass(frozen=True, slots=True)
class Forms:
    """Which of several equivalent graph forms the engine runs fastest on this target."""

    attention: str = "packed"
    gelu: str = "erf"
    linear: str = "matmul"
    channels: str = "elementwise"
    tables: str = "npu"


@dataclass(frozen=True, slots=True)
class Target:
    """One board, chip or computer, and the engine that runs there.

    `activation` is the type that the engine's int8 kernels want ("uint8" or "int8"); `weight` is
    "int8", or "int8-pairs" where two products are summed in 16 bits and must not saturate.
    `chip` is what the vendor's compiler calls the chip, in the engine's own words.
    `lengths` are the token counts that an engine of fixed shapes is written for, `profile` the
    recipe's choice between accuracy and speed on an NPU: the build says both. `longest` is the
    most tokens that a target is built for by default, 0 for no limit.
    """

    name: str
    description: str
    engine: str
    isa: str
    activation: str
    weight: str
    opset: int
    runtime: str
    cpu_features: tuple[str, ...] = ()
    cpu: Cpu | None = None
    power: Power | None = None
    latency: Latency | None = None
    forms: Forms = Forms()
    chip: tuple[str, ...] = ()
    lengths: tuple[int, ...] = ()
    profile: str = "accurate"
    longest: int = 0

    @property
    def folder(self) -> str:
        """Return how the folder of its bundle ends."""
        return self.name.replace(":", "-")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A file of targets/waiting/: a chip whose compiler cannot be had from a package index.

    `needs` says what would have to be installed; no engine has been made for it.
    """

    name: str
    description: str
    needs: str


REFERENCE = Target(
    name="float reference",
    description="the float model in the form that onnxruntime runs fast and exactly",
    engine="onnxruntime",
    isa="any",
    activation="uint8",
    weight="int8",
    opset=23,
    runtime=">=1.24",
    forms=Forms(attention="operator", gelu="erf"),
)
"""What calibration observes and what artifacts are compared with."""

CHOICES = {"activation": ("uint8", "int8"), "weight": ("int8", "int8-pairs")}
MACHINE_TABLES: Mapping[str, type[Any]] = {"cpu": Cpu, "latency": Latency, "power": Power}
"""The tables that are of the machine, by what they are read into: no engine's."""
FASTEST = "fastest"
"""In an engine's place: build with all, keep the fastest."""
OLDEST_OPSET, NEWEST_OPSET = 17, 23
"""LayerNormalization came with 17; the canonical graph is written in 23."""


def version(text: str) -> tuple[int, ...]:
    """Return the first two numbers of a version, or of what demands one: (1, 24) of ">=1.24"."""
    return tuple(int(number) for number in re.findall(r"\d+", text)[:2])


def targets_dir() -> Path:
    """Return `targets/`: inside the package in a wheel, beside it in a checkout."""
    inside = Path(__file__).parent / "targets"
    return inside if inside.is_dir() else Path(__file__).parents[1] / "targets"


def names() -> list[str]:
    """Return the names of all targets."""
    return sorted(_files())


def path_of(name: str) -> Path:
    """Return a target's file; "TARGET:ENGINE" means TARGET's."""
    name = name.partition(":")[0]
    found = _files()
    if name in (others := waiting()):
        what = f"{name} ({others[name].description})"
        msg = f"{what}: no engine yet; its compiler needs {others[name].needs}"
        raise UnsupportedError(msg)
    if name not in found:
        kind = "target"
        raise UnknownNameError(kind, name, found)
    return found[name]


def _files() -> dict[str, Path]:
    """Return the files of all targets by name: ours, and those that come with outside engines."""
    folders = [*(folder_of(engine) / "targets" for engine in packages()), targets_dir()]
    return {path.stem: path for folder in folders for path in folder.glob("*.toml")}


def waiting() -> dict[str, Waiting]:
    """Return the targets that nothing can be built for, by name."""
    files = sorted((targets_dir() / "waiting").glob("*.toml"))
    found = (fill(Waiting, read_toml(p), p, given={"name": p.stem}) for p in files)
    return {each.name: each for each in found}


def engines(name: str) -> list[str]:
    """Return the engines that a target's file has a table for, the preferred one first."""
    path = path_of(name)
    machine, tables = _read(path)
    return [machine.engine, *sorted(tables.keys() - {machine.engine})]


def load(name: str) -> Target:
    """Read one target by name: "x86-64", or "x86-64:openvino" for an engine of one's own choice.

    With another engine than the preferred one, the engine stays in the target's name.
    """
    path = path_of(name)
    machine, tables = _read(path)
    board, colon, chosen = name.partition(":")
    engine = chosen if colon else machine.engine
    if engine not in tables:
        _check_wheels(board, machine.isa, engine, tables)
        kind = f"engine of {board}"
        raise UnknownNameError(kind, engine, tables)
    table = dict(tables[engine])
    place = f"{engine}.forms"
    forms = fill(Forms, table.pop("forms", {}), path, place)
    shown = board if engine == machine.engine else f"{board}:{engine}"
    of_machine = {field.name: getattr(machine, field.name) for field in fields(machine)}
    given = of_machine | {"name": shown, "engine": engine, "forms": forms}
    given |= {"lengths": (), "profile": "accurate"}
    target = fill(Target, table, path, engine, given)
    _check(path, target)
    return target


def _check_wheels(board: str, isa: str, engine: str, tables: Iterable[str]) -> None:
    """Say so if an engine that a target has no table for has no wheels for its machine either."""
    if engine not in engine_names():
        return
    isas = importlib.import_module(module_of(engine, "emit", f"emit.{engine}")).ISAS
    if isa not in isas:
        others = " or ".join(f"{board}:{name}" for name in tables)
        msg = f"{board} is {isa}, {engine} has wheels for {' and '.join(isas)} alone; take {others}"
        raise UnsupportedError(msg)


def first_of(names: Sequence[str]) -> "Target | None":
    """Return the first of the targets that a recipe names: its budgets are of that one."""
    return load_each(names[0])[0] if names else None


def load_each(name: str) -> list[Target]:
    """Read the target that a name means, or with "x86-64:fastest" it with each of its engines."""
    board, _, chosen = name.partition(":")
    if chosen != FASTEST:
        return [load(name)]
    return [load(f"{board}:{engine}") for engine in engines(board)]


def completions() -> list[str]:
    """Return all that may be said for a target: its name, with an engine, with "fastest"."""
    found = []
    for name in names():
        others = engines(name)[1:]
        found += [name, *(f"{name}:{engine}" for engine in others)]
        found += [f"{name}:{FASTEST}"] if others else []
    return found


def _read(path: Path) -> tuple[Machine, Mapping[str, Any]]:
    """Return what a file says of the machine, and its tables by engine."""
    values = read_toml(path)
    given = {
        name: fill(kind, values.pop(name), path, name) if name in values else None
        for name, kind in MACHINE_TABLES.items()
    }
    tables = {key: value for key, value in values.items() if isinstance(value, dict)}
    known = engine_names()
    for name in tables:
        if name not in known:
            what = "engine"
            raise UnknownNameError(what, name, known, str(path))
    of_top = {key: value for key, value in values.items() if key not in tables}
    machine = fill(Machine, of_top, path, given=given)
    if machine.engine not in tables:
        msg = f"{path}: engine is '{machine.engine}', but there is no table [{machine.engine}]"
        raise RecipeError(msg)
    return machine, tables


def forms_of(engine: str) -> Mapping[str, tuple[str, ...]]:
    """Return the forms that an engine's lowering knows, by kind: the default where it says none."""
    own = importlib.import_module(module_of(engine, "lower", f"lower.{engine}")).FORMS
    return {kind: own.get(kind, (form,)) for kind, form in asdict(Forms()).items()}


def _check(path: Path, target: Target) -> None:
    place = f"{path}, [{target.engine}]"
    for key, known in CHOICES.items():
        if getattr(target, key) not in known:
            raise UnknownNameError(key, getattr(target, key), known, place)
    for key, value in asdict(target.forms).items():
        forms = forms_of(target.engine)[key]
        if value not in forms:
            raise UnknownNameError(key, value, forms, f"{path}, [{target.engine}.forms]")
    if not OLDEST_OPSET <= target.opset <= NEWEST_OPSET:
        msg = f"{place} opset: must lie between {OLDEST_OPSET} and {NEWEST_OPSET}"
        raise RecipeError(msg)
    if not re.fullmatch(r">=\d+\.\d+", target.runtime):
        msg = f"{place} runtime: must look like '>=1.24', found '{target.runtime}'"
        raise RecipeError(msg)

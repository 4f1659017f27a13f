"""`edgecompile check`: read bundles, hold them against their budgets, point at the limit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgecompile.budgets.find_line import find_line
from edgecompile.budgets.judge import ANSWERS, Verdict, failed, judge
from edgecompile.budgets.table import budgets_of, override
from edgecompile.bundles.open_bundle import open_bundle
from edgecompile.bundles.read_bundle import ReadBundle, read_bundle
from edgecompile.errors import BudgetError
from edgecompile.files import MANIFEST
from edgecompile.recipe import Recipe
from edgecompile.report.finding import ERROR, OK, Finding, in_repository


@dataclass(frozen=True, slots=True)
class Wishes:
    """What to hold bundles against.

    By default the budget of the recipe that each was built with; `recipe`, read from `file`, takes
    its place, `limits` go before both. `run` answers the golden vectors again.
    """

    recipe: Recipe | None = None
    file: Path | None = None
    limits: Mapping[str, float] | None = None
    run: bool = False


def check_bundle(folder: Path, wishes: Wishes) -> list[Verdict]:
    """Read a bundle, a folder or a .zip, all hashes verified, and judge it.

    Raises BundleError, RecipeError.
    """
    with open_bundle(folder) as opened:
        bundle = read_bundle(opened)
        return [*judge_bundle(bundle, wishes), *([_answers(bundle)] if wishes.run else [])]


def judge_bundle(bundle: ReadBundle, wishes: Wishes) -> list[Verdict]:
    """Hold a bundle against its budget."""
    given = wishes.recipe.budget if wishes.recipe is not None else None
    budgets = given or budgets_of(bundle.manifest, bundle.folder / MANIFEST)
    budget = budgets.of(str(bundle.manifest["target"]))
    return judge(bundle, override(budget, wishes.limits or {}))


def _answers(bundle: ReadBundle) -> Verdict:
    """Hold the artifact's answers to the golden vectors, given here, against what the build saw."""
    from edgecompile.bundles.run_golden import DRIFT, answer, read_golden, scores

    golden = read_golden(bundle)
    mean = float(scores(bundle, golden, answer(bundle, golden)).mean())
    metric = str(bundle.manifest["accuracy"]["metric"])
    seen = bundle.manifest["golden"].get("mean")
    before = float(seen) if isinstance(seen, int | float) else 1.0
    floor = before - DRIFT[metric]
    how = f"mean {metric} over {len(golden.feeds)} golden samples; the build saw {before:.4f}"
    who = (bundle.name, str(bundle.manifest["target"]), ANSWERS)
    return Verdict(
        *who, holds=mean >= floor, limit=floor, value=mean, judged=mean, kind="measured", how=how
    )


def findings_of(folder: Path, verdicts: Sequence[Verdict], recipe: Path | None) -> list[Finding]:
    """Return what CI shows: the recipe's line where there is one, else the manifest."""
    findings = []
    for verdict in verdicts:
        level = OK if verdict.holds else ERROR
        line = find_line(recipe, verdict.target, verdict.check) if recipe else None
        manifest = folder if folder.is_file() else folder / MANIFEST
        place = in_repository(recipe if recipe and line else manifest)
        findings.append(
            Finding(verdict.bundle, verdict.check, level, verdict.line(), place, line or 1)
        )
    return findings


def demand(verdicts: Sequence[Verdict]) -> None:
    """Raise BudgetError if one does not hold."""
    wrong = failed(verdicts)
    if wrong:
        listed = ", ".join(f"{verdict.bundle} {verdict.check}" for verdict in wrong)
        msg = f"over budget: {listed}; the bundles are kept"
        raise BudgetError(msg, wrong)

"""Two reports side by side: the gate's tests without a store or a registry, a pure function of two folders.

Without a recipe every metric is compared for what it is, and nothing is decided. With one, its promotion rule gives
the verdict that the pipeline would give, B standing for both champion and base.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from evaluation.report import Report
from lineage.errors import EvaluationError
from recipes.errors import DONE, FAILED, REFUSED


@dataclass(frozen=True)
class Comparison:
    """What came of it, as lines for people and as facts for programs, with the exit status that says as much.

    status: FAILED if a recipe's rule does not pass A, REFUSED for what cannot be compared.
    """

    status: int
    lines: list[str]
    facts: dict[str, Any]


def compare(a: Path, b: Path, recipe: Path | None, out: Path | None, again: str) -> Comparison:
    """Report folder `a`, of the newer checkpoint, against `b`; the HTML page goes to `out`. again: the command.

    Raises EvaluationError for what is no report, RecipeError for what is no recipe.
    """
    candidate, reference = Report.load(a), Report.load(b)
    if recipe is None:
        return _describe(candidate, reference, out, {"again": [again]})
    return _decide(candidate, reference, recipe, out, {"again": [again]})


def _describe(candidate: Report, reference: Report, out: Path | None, context: dict[str, Any]) -> Comparison:
    from evaluation.gating.gate import differences
    from evaluation.pages.page import compared, render_comparison

    differing = differences(candidate, reference)
    if out is not None:
        _write(out, render_comparison(candidate, reference, differing, context))
    if differing:
        said = f"incomparable: A and B were not evaluated alike; they differ in {', '.join(differing)}"
        return Comparison(REFUSED, [said], {"incomparable": differing, "tests": []})
    invalid = {side: report.invalid_reasons for side, report in (("A", candidate), ("B", reference))}
    lines = [f"note: report {side} is not valid: {why}" for side, reasons in invalid.items() for why in reasons]
    tests = compared(candidate, reference)
    odd = [metric for metric in candidate.results if metric not in {test.metric for test in tests}]
    lines += [test.sentence for test in tests]
    lines += [
        f"{metric}: cannot be paired, the reports do not hold the same items under the same prompts" for metric in odd
    ]
    facts = {"tests": [_test(test) for test in tests], "unpaired": odd, "invalid": invalid}
    return Comparison(DONE if tests else REFUSED, lines, {"incomparable": [], **facts})


def _test(test: Any) -> dict[str, Any]:
    return {**test.model_dump(mode="json"), "sentence": test.sentence}


def _decide(
    candidate: Report, reference: Report, recipe_file: Path, out: Path | None, context: dict[str, Any]
) -> Comparison:
    from evaluation.gating.gate import decide
    from evaluation.pages.page import render_page
    from recipes.load import load_recipe

    recipe = load_recipe(recipe_file)
    decision = decide(recipe.promotion, candidate, reference, reference, reference_kind="base", overridden=False)
    if out is not None:
        context |= {"recipe": recipe.name, "description": recipe.description}
        _write(out, render_page(decision, {"candidate": candidate, "reference": reference}, {}, context))
    status = {"pass": DONE, "incomparable": REFUSED}.get(decision.verdict, FAILED)
    return Comparison(status, [f"verdict: {decision.verdict}", *decision.reasons], decision.model_dump(mode="json"))


def _write(out: Path, page: str) -> None:
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{out}: {error.strerror}") from None

"""Two reports side by side: the gate's tests without a store or a registry, a pure function of two folders.

Without a recipe every metric is compared for what it is, and nothing is decided. With one, its promotion rule gives
the verdict that the pipeline would give, B standing for both champion and base.
"""

import argparse
import shlex
from pathlib import Path
from typing import Any

from evaluation.report import Report
from lineage.errors import EvaluationError

_INCOMPARABLE = 2


def main(arguments: list[str]) -> int:
    """Print the comparison. Exit code 0; 1 if a recipe's rule does not pass A; 2 for what cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m evaluation compare", description=__doc__)
    parser.add_argument("candidate", type=Path, metavar="REPORT_A", help="report folder of the newer checkpoint")
    parser.add_argument("reference", type=Path, metavar="REPORT_B", help="report folder to compare it with")
    parser.add_argument("--recipe", type=Path, help="recipe whose promotion rule decides")
    parser.add_argument("--out", type=Path, help="write the HTML page there")
    options = parser.parse_args(arguments)
    try:
        candidate, reference = Report.load(options.candidate), Report.load(options.reference)
        context = {"again": [f"python -m evaluation compare {shlex.join(arguments)}"]}
        if options.recipe is None:
            return _describe(candidate, reference, options.out, context)
        return _decide(candidate, reference, options.recipe, options.out, context)
    except EvaluationError as error:
        parser.exit(_INCOMPARABLE, f"{error}\n")


def _describe(candidate: Report, reference: Report, out: Path | None, context: dict[str, Any]) -> int:
    from evaluation.gating.gate import differences
    from evaluation.pages.page import compared, render_comparison

    differing = differences(candidate, reference)
    if out is not None:
        _write(out, render_comparison(candidate, reference, differing, context))
    if differing:
        print(f"incomparable: A and B were not evaluated alike; they differ in {', '.join(differing)}")
        return _INCOMPARABLE
    for side, report in (("A", candidate), ("B", reference)):
        for why in report.invalid_reasons:
            print(f"note: report {side} is not valid: {why}")
    tests = compared(candidate, reference)
    for test in tests:
        print(test.sentence)
    odd = [metric for metric in candidate.results if metric not in {test.metric for test in tests}]
    for metric in odd:
        print(f"{metric}: cannot be paired, the reports do not hold the same items under the same prompts")
    return 0 if tests else _INCOMPARABLE


def _decide(candidate: Report, reference: Report, recipe_file: Path, out: Path | None, context: dict[str, Any]) -> int:
    from evaluation.gating.gate import decide
    from evaluation.pages.page import render_page
    from recipes.errors import RecipeError
    from recipes.load import load_recipe

    try:
        recipe = load_recipe(recipe_file)
    except RecipeError as error:
        raise EvaluationError(str(error)) from None
    decision = decide(recipe.promotion, candidate, reference, reference, reference_kind="base", overridden=False)
    print("\n".join([f"verdict: {decision.verdict}", *decision.reasons]))
    if out is not None:
        context |= {"recipe": recipe.name, "description": recipe.description}
        _write(out, render_page(decision, {"candidate": candidate, "reference": reference}, {}, context))
    if decision.verdict == "incomparable":
        return _INCOMPARABLE
    return 0 if decision.verdict == "pass" else 1


def _write(out: Path, page: str) -> None:
    try:
        out.write_text(page, encoding="utf-8")
    except OSError as error:
        raise EvaluationError(f"{out}: {error.strerror}") from None

"""Two reports side by side, for a person at a terminal: the gate's tests without a store or a registry.

Without a recipe every metric is compared for what it is. With one, its promotion rule gives the verdict
that the pipeline would give, B standing for both champion and base.
"""

import argparse
from pathlib import Path

from evaluation.report import EvaluationError, Report

_ALPHA = 0.05


def main(arguments: list[str]) -> int:
    """Print the comparison. Exit code 0; 1 if a recipe's rule does not pass A; 2 for what cannot be compared."""
    parser = argparse.ArgumentParser(prog="python -m evaluation compare", description=__doc__)
    parser.add_argument("candidate", type=Path, metavar="REPORT_A", help="report folder of the newer checkpoint")
    parser.add_argument("reference", type=Path, metavar="REPORT_B", help="report folder to compare it with")
    parser.add_argument("--recipe", type=Path, help="recipe whose promotion rule decides")
    parser.add_argument("--out", type=Path, help="write the HTML page there (needs --recipe)")
    options = parser.parse_args(arguments)
    if options.out and not options.recipe:
        parser.error("--out needs --recipe: a page shows a verdict")
    try:
        candidate, reference = Report.load(options.candidate), Report.load(options.reference)
        if options.recipe is None:
            return _describe(candidate, reference)
        return _decide(candidate, reference, options.recipe, options.out)
    except EvaluationError as error:
        parser.exit(2, f"{error}\n")


def _describe(candidate: Report, reference: Report) -> int:
    from evaluation.gate import compare

    shared = [metric for metric in candidate.results if metric in reference.results]
    if not shared:
        raise EvaluationError("the two reports have no metric in common")
    if candidate.suite["digest"] != reference.suite["digest"]:
        print("note: the suites differ (tasks, data, dtype or batch size), so a difference need not be the model's")
    for metric in shared:
        ours, theirs = (_by_item(report, metric) for report in (candidate, reference))
        if ours != theirs:
            print(f"{metric}: cannot be paired, the reports do not hold the same items under the same prompts")
            continue
        print(compare(candidate, reference, metric, _ALPHA).sentence)
    return 0


def _by_item(report: Report, metric: str) -> dict[str, str]:
    """Prompt hash by item: what must be equal for a paired comparison."""
    return {row["doc_hash"]: row["prompt_hash"] for row in report.rows if f"{row['task']}/{row['metric']}" == metric}


def _decide(candidate: Report, reference: Report, recipe_file: Path, out: Path | None) -> int:
    from evaluation.gate import decide
    from evaluation.page import render_page
    from recipes.load import RecipeError, load_recipe

    try:
        promotion = load_recipe(recipe_file).promotion
    except RecipeError as error:
        raise EvaluationError(str(error)) from None
    decision = decide(promotion, candidate, reference, reference, reference_kind="base", overridden=False)
    print("\n".join([f"verdict: {decision.verdict}", *decision.reasons]))
    if out is not None:
        page = render_page(decision, {"candidate": candidate, "reference": reference}, {}, {})
        out.write_text(page, encoding="utf-8")
    return 0 if decision.verdict == "pass" else 1

"""The page of a decision: one HTML file that a manager reads in a minute and a statistician can audit.

Verdict first, then the differences with their intervals and margins, scores before and after, training
curves, the tests in numbers, answers side by side, and under which conditions it all holds. Everything is
inside the file: no script, no font, no image from elsewhere. Text from data is escaped by the template
engine. Answers to prompts that must not be kept are not in the reports, so they cannot get here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

from evaluation.decision import Decision, Test, Verdict
from evaluation.gate import compare
from evaluation.plots import OUTCOME_COLOURS, curves, forest, scores
from evaluation.report import Report, Sample
from evaluation.wording import allowance

_TEMPLATES = Path(__file__).parent / "templates"
_EACH_WAY = 3
_LONGEST_TEXT = 700
_REFERENCE = "reference"

_HEADLINES: dict[Verdict, str] = {
    "pass": "{candidate} may become champion: it is better on {target} and no guard got worse beyond its margin.",
    "fail": "{candidate} must not become champion: a test or the way it was trained speaks against it.",
    "inconclusive": "{candidate} does not become champion: the evaluation is too small to tell.",
    "incomparable": "{candidate} does not become champion: the reports were not made alike.",
    "invalid": "{candidate} does not become champion: a report cannot be trusted.",
}


class Shown(TypedDict):
    """One item as the page shows it: what was asked, and what each checkpoint answered with its score."""

    metric: str
    change: str
    prompt: str
    target: str
    answers: list[tuple[str, str, float]]


def render_page(
    decision: Decision,
    reports: Mapping[str, Report],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    context: Mapping[str, Any],
) -> str:
    """The page as HTML.

    reports: by the name a person knows a checkpoint by; "reference" may name a report again. histories: log
    history of each training stage. context: `recipe`, `description`, and what else to list under conditions.
    """
    from jinja2 import Environment, FileSystemLoader

    names = _distinct(reports)
    metrics = list(dict.fromkeys(metric for report in names.values() for metric in report.results))
    shared = [metric for metric in metrics if all(metric in report.results for report in names.values())]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"percent": lambda value: f"{100 * value:.1f} %", "points": lambda v: f"{100 * v:+.1f}"}
    page: str = environment.get_template("decision.html.jinja").render(
        decision=decision,
        headline=headline(decision),
        colours={**OUTCOME_COLOURS, "incomparable": "#808890", "invalid": "#d55e00"},
        widths=_widths(decision),
        names=names,
        metrics=metrics,
        tests=[*decision.tests, *_context_tests(decision, names)],
        forest=forest(decision.tests) if decision.tests else None,
        scores=scores(names, shared) if shared else None,
        curves={name: curves(history) for name, history in histories.items() if history},
        shown=_shown(decision, names, reports),
        context=context,
    )
    return page


def headline(decision: Decision) -> str:
    """The verdict in one sentence."""
    promotion = decision.promotion
    return _HEADLINES[decision.verdict].format(candidate=promotion.candidate, target=promotion.target.metric)


def summary_markdown(decision: Decision) -> str:
    """Verdict and reasons for places that show Markdown."""
    lines = [f"**{decision.verdict.upper()}** · {headline(decision)}", "", *(f"- {why}" for why in decision.reasons)]
    return "\n".join(lines)


def _distinct(reports: Mapping[str, Report]) -> dict[str, Report]:
    """Reports without the second name of one that is there under its own; a champion of its own is called so."""
    own = {name: report for name, report in reports.items() if name != _REFERENCE}
    reference = reports.get(_REFERENCE)
    if reference is not None and reference.report_id not in {report.report_id for report in own.values()}:
        return {"champion": reference, **own}
    return own


def _widths(decision: Decision) -> list[str]:
    """How wide the margins are, in words."""
    guards = [
        f"{guard.metric} may lose up to {allowance(guard.margin)}"
        + (f" and is bounded at {guard.floor:.0%}" if guard.floor is not None else "")
        for guard in decision.promotion.guards
    ]
    target = decision.promotion.target
    return [f"{target.metric} must gain more than {allowance(target.min_gain)}", *guards]


def _context_tests(decision: Decision, names: Mapping[str, Report]) -> list[Test]:
    """The other stages against base on the target: shown, not part of the verdict."""
    base, metric = names.get("base"), decision.promotion.target.metric
    if base is None or decision.verdict in ("invalid", "incomparable"):
        return []
    others = [name for name in names if name not in ("base", "champion", decision.promotion.candidate)]
    return [
        compare(names[name], base, metric, decision.promotion.alpha).model_copy(update={"against": f"base ({name})"})
        for name in others
    ]


def _shown(decision: Decision, names: Mapping[str, Report], reports: Mapping[str, Report]) -> list[Shown]:
    """Items whose text is kept: what the candidate won, lost and left the same, a few of each per metric."""
    candidate = reports.get(decision.promotion.candidate) or reports.get("candidate")
    before = reports.get(_REFERENCE) or reports.get("base")
    if candidate is None or before is None:
        return []
    indexed = {name: _by_item(report) for name, report in names.items()}
    ours, theirs = _by_item(candidate), _by_item(before)
    shown: list[Shown] = []
    for metric in dict.fromkeys((row["task"], row["metric"]) for row in candidate.rows):
        items = [key for key in ours if key[:2] == metric and key in theirs and _has_text(ours[key])]
        for change, sign in (("won", 1), ("lost", -1), ("as before", 0)):
            changed = [key for key in items if _sign(ours[key]["score"] - theirs[key]["score"], ours[key]) == sign]
            shown += [_item(key, change, indexed) for key in changed[: _EACH_WAY if sign else 1]]
    return shown


def _item(
    key: tuple[str, str, str], change: str, indexed: Mapping[str, Mapping[tuple[str, str, str], Sample]]
) -> Shown:
    rows = {name: items[key] for name, items in indexed.items() if key in items}
    first = next(iter(rows.values()))
    return Shown(
        metric=f"{key[0]}/{key[1]}",
        change=change,
        prompt=_cut(first.get("prompt")),
        target=_cut(first.get("target")),
        answers=[(name, _cut(row.get("response")), row["score"]) for name, row in rows.items()],
    )


def _by_item(report: Report) -> dict[tuple[str, str, str], Sample]:
    return {(row["task"], row["metric"], row["doc_hash"]): row for row in report.rows}


def _has_text(row: Sample) -> bool:
    return row.get("prompt") is not None and row.get("response") is not None


def _sign(difference: float, row: Sample) -> int:
    better = difference if row["higher_is_better"] else -difference
    return (better > 0) - (better < 0)


def _cut(text: str | None) -> str:
    text = text or ""
    return text if len(text) <= _LONGEST_TEXT else text[:_LONGEST_TEXT] + " …"

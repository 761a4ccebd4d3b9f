"""The page of a decision, or of a comparison: one HTML file that a manager reads in a minute and a statistician audits.

Verdict first, then the differences with their intervals and margins, scores with and without the items that stand in
the training data, groups, answers won and lost, calibration, safety, what it cost, and how to do it again. Everything
is inside the file: no script, no font, no image from elsewhere. Text from data is escaped by the template engine.
Answers to prompts that must not be kept are not in the reports, so they cannot get here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.gating.decision import Contamination, Decision, Floor, Test
from evaluation.gating.gate import compare
from evaluation.gating.wording import contamination_sentence, headline
from evaluation.pages.answers import flips
from evaluation.pages.calibration import calibrations
from evaluation.pages.first_screen import Tile, direction, findings, tiles, told_apart, widths
from evaluation.pages.formats import duration, money, number, p_value, percent, points
from evaluation.pages.plots import curves, forest, reliability, scores
from evaluation.pages.sections import details, safety, work_rows
from evaluation.pages.subgroups import by_group
from evaluation.report import Report

_TEMPLATES = Path(__file__).parent / "templates"
_REFERENCE = "reference"
_ALPHA, _POWER = 0.05, 0.8
"""Of a comparison, which has no recipe."""
_BADGES: dict[str, str] = {
    "pass": "#00795a",
    "fail": "#b3470a",
    "inconclusive": "#8a6100",
    "incomparable": "#57616b",
    "invalid": "#b3470a",
    "comparison": "#3b5b7a",
}
_TOLD_APART = ("recipe", "description", "work", "sources", "again", "made")


class Sides(NamedTuple):
    """Who is judged against whom, by the names of the page."""

    candidate: Report | None
    reference: Report | None
    candidate_name: str
    reference_name: str


@dataclass(frozen=True)
class Shown:
    """What a page says. gating: the tests that a verdict rests on. rows: these and others, by what is compared."""

    label: str
    headline: str
    lead: str
    findings: Sequence[tuple[str, str]]
    alpha: float
    power: float
    gating: Sequence[Test]
    rows: list[tuple[str, Test]]
    names: Mapping[str, Report]
    sides: Sides
    judged: list[str]
    suite_digest: str
    tiles: Sequence[Tile] = ()
    widths: Sequence[str] = ()
    floors: Sequence[Floor] = ()
    contamination: Contamination | None = None
    curves: Mapping[str, str] = field(default_factory=dict)


def render_page(
    decision: Decision,
    reports: Mapping[str, Report],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    context: Mapping[str, Any],
) -> str:
    """The page of a decision as HTML.

    reports: by the name a person knows a checkpoint by; "reference" may name a report again. histories: log
    history of each training stage. context: `recipe`, `description`; `work`, metrics of what was made, by
    name (wall_s, device_seconds, cost, tokens, tokens_per_s, peak_memory_bytes, device, …); `sources`, {group,
    licence} by name; `again`, commands that do it again; `made`, what it was made with, by name;
    everything else is listed under conditions.
    """
    promotion = decision.promotion
    names = _distinct(decision, reports)
    candidate = reports.get(promotion.candidate) or reports.get("candidate")
    reference = reports.get(_REFERENCE) or reports.get("base")
    sides = Sides(candidate, reference, promotion.candidate, _name_of(names, reference) or decision.reference_kind)
    judged = [*(target.metric for target in promotion.targets), *(guard.metric for guard in promotion.guards)]
    lead = (
        "the base model, as there is no champion yet" if decision.reference_kind == "base" else "the current champion"
    )
    shown = Shown(
        label=decision.verdict,
        headline=headline(decision),
        lead=f"Compared with {lead}.",
        tiles=tiles(decision, context.get("work", {})),
        findings=findings(decision),
        widths=widths(decision, names),
        alpha=promotion.alpha,
        power=promotion.power,
        gating=decision.tests,
        rows=[*_gating(decision), *_context_tests(decision, names)],
        floors=decision.floors,
        names=names,
        sides=sides,
        judged=judged,
        contamination=decision.contamination,
        curves={name: curves(history) for name, history in histories.items() if history},
        suite_digest=decision.suite_digest,
    )
    return _render(shown, context)


def render_comparison(
    candidate: Report, reference: Report, differing: Sequence[str], context: Mapping[str, Any]
) -> str:
    """The page of two reports without a recipe: every metric for what it is, and no verdict.

    differing: under which conditions they were not made alike; nothing is compared then.
    """
    tests = [] if differing else compared(candidate, reference)
    names = {"B": reference, "A": candidate}
    shown = Shown(
        label="incomparable" if differing else "comparison",
        headline="A and B cannot be compared: they were not made alike." if differing else told_apart(tests),
        lead="No recipe was given, so nothing is decided.",
        findings=[("incomparable", f"A and B differ in {what}.") for what in differing]
        or [(direction(test), test.sentence) for test in tests],
        alpha=_ALPHA,
        power=_POWER,
        gating=tests,
        rows=[("A vs B", test) for test in tests],
        names=names,
        sides=Sides(None if differing else candidate, reference, "A", "B"),
        judged=[test.metric for test in tests],
        suite_digest=str(candidate.suite.get("digest", "")),
    )
    return _render(shown, context)


def compared(candidate: Report, reference: Report) -> list[Test]:
    """The paired comparison of each metric that both reports hold of the same items under the same prompts."""
    return [
        compare(candidate, reference, metric, _ALPHA, power=_POWER, against="B")
        for metric in candidate.results
        if metric in reference.results and _items(candidate, metric) == _items(reference, metric)
    ]


def _render(shown: Shown, context: Mapping[str, Any]) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": percent, "points": points, "duration": duration, "number": number}
    environment.filters |= {"p_value": p_value, "money": money}
    names, sides, contamination = shown.names, shown.sides, shown.contamination
    metrics = _in_order(shown.judged, names)
    shared = [metric for metric in metrics if all(metric in report.results for report in names.values())]
    pair = {sides.reference_name: sides.reference, sides.candidate_name: sides.candidate}
    both = {name: report for name, report in pair.items() if report is not None}
    candidate, reference = sides.candidate, sides.reference
    found = calibrations(both)
    page: str = environment.get_template("decision.html.jinja").render(
        **vars(shown),
        badge=_BADGES[shown.label],
        tests=shown.rows,
        metrics=metrics,
        forest=forest(shown.gating) if shown.gating else None,
        scores=scores(names, shared) if shared else None,
        contamination_said=contamination_sentence(contamination) if contamination else "",
        roles=_roles(contamination, names, sides),
        groups=by_group(candidate, reference, metrics) if candidate and reference else [],
        flips=flips(names, candidate, reference, metrics) if candidate and reference else [],
        calibrations=found,
        reliability={metric: reliability(by_name) for metric, by_name in found.items()},
        safety=safety(candidate, reference, shown.rows) if candidate and reference else [],
        details=details(names),
        recipe=context.get("recipe", ""),
        description=context.get("description", ""),
        work=work_rows(context.get("work", {})),
        sources=context.get("sources", {}),
        again=context.get("again", ["temper compare A B --out page.html"]),
        made=context.get("made", {}),
        more={name: value for name, value in context.items() if name not in _TOLD_APART},
    )
    return page


def _distinct(decision: Decision, reports: Mapping[str, Report]) -> dict[str, Report]:
    """Reports without the second name of one that is there under its own; else the reference by what it is."""
    own = {name: report for name, report in reports.items() if name != _REFERENCE}
    reference = reports.get(_REFERENCE)
    if reference is None or reference.report_id in {report.report_id for report in own.values()}:
        return own
    name = decision.reference_kind if decision.reference_kind not in own else _REFERENCE
    return {name: reference, **own}


def _name_of(names: Mapping[str, Report], report: Report | None) -> str | None:
    return next((name for name, one in names.items() if report and one.report_id == report.report_id), None)


def _in_order(judged: Sequence[str], names: Mapping[str, Report]) -> list[str]:
    """All metrics of the reports: those that are judged, then the others."""
    known = dict.fromkeys(metric for report in names.values() for metric in report.results)
    return [metric for metric in dict.fromkeys([*judged, *known]) if metric in known]


def _gating(decision: Decision) -> list[tuple[str, Test]]:
    return [(f"{decision.promotion.candidate} vs {test.against}", test) for test in decision.tests]


def _context_tests(decision: Decision, names: Mapping[str, Report]) -> list[tuple[str, Test]]:
    """The other stages against base on the first target: shown, no part of the verdict."""
    base, metric = names.get("base"), decision.promotion.targets[0].metric
    if base is None or decision.verdict in ("invalid", "incomparable"):
        return []
    judged = {report["report_id"] for report in decision.reports.values()}
    rest = {name: report for name, report in names.items() if report.report_id not in judged}
    items = _items(base, metric)
    alpha, power = decision.promotion.alpha, decision.promotion.power
    return [
        (f"{name} vs base", compare(report, base, metric, alpha, power=power))
        for name, report in rest.items()
        if report.valid and _items(report, metric) == items
    ]


def _items(report: Report, metric: str) -> dict[str, str]:
    """Prompt by item of one metric: equal for reports that can be paired."""
    return {r["doc_hash"]: r["prompt_hash"] for r in report.rows if f"{r['task']}/{r['metric']}" == metric}


def _roles(contamination: Contamination | None, names: Mapping[str, Report], sides: Sides) -> dict[str, str]:
    """What the page calls the reports of a decision's roles."""
    told = {score.report for score in contamination.scores} if contamination else set()
    known = {"reference": sides.reference_name, "candidate": sides.candidate_name, "anchor": "base"}
    return {role: name for role, name in known.items() if role in told and (name in names or role != "anchor")}

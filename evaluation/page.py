"""The page of a decision: one HTML file that a manager reads in a minute and a statistician can audit.

Verdict first, then the differences with their intervals and margins, scores before and after, training
curves, the tests in numbers, answers side by side, and under which conditions it all holds. Everything is
inside the file: no script, no font, no image from elsewhere. Text from data is escaped by the template
engine. Answers to prompts that must not be kept are not in the reports, so they cannot get here.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from evaluation.answers import Shown, side_by_side
from evaluation.decision import Decision, Test, Verdict
from evaluation.gate import compare
from evaluation.plots import curves, forest, scores
from evaluation.report import Report
from evaluation.wording import allowance, headline

_TEMPLATES = Path(__file__).parent / "templates"
_REFERENCE = "reference"
_MIB = 1 << 20
_BADGES: dict[Verdict, str] = {
    "pass": "#00795a",
    "fail": "#b3470a",
    "inconclusive": "#8a6100",
    "incomparable": "#57616b",
    "invalid": "#b3470a",
}
_TOLD_APART = ("recipe", "description", "work", "sources")


def render_page(
    decision: Decision,
    reports: Mapping[str, Report],
    histories: Mapping[str, Sequence[Mapping[str, Any]]],
    context: Mapping[str, Any],
) -> str:
    """The page as HTML.

    reports: by the name a person knows a checkpoint by; "reference" may name a report again. histories: log
    history of each training stage. context: `recipe`, `description`; `work`, metrics of what was made, by
    name (wall_s, tokens, tokens_per_s, peak_memory_bytes, device, …); `sources`, {group, licence} by name;
    everything else is listed under conditions.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    names = _distinct(decision, reports)
    metrics = _in_order(decision, names)
    shared = [metric for metric in metrics if all(metric in report.results for report in names.values())]
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": _percent, "points": _points, "duration": _duration, "number": _number}
    page: str = environment.get_template("decision.html.jinja").render(
        decision=decision,
        promotion=decision.promotion,
        headline=headline(decision),
        findings=_findings(decision),
        badge=_BADGES[decision.verdict],
        widths=_widths(decision, names),
        names=names,
        metrics=metrics,
        tests=[*_gating(decision), *_context_tests(decision, names)],
        forest=forest(decision.tests) if decision.tests else None,
        scores=scores(names, shared) if shared else None,
        curves={name: curves(history) for name, history in histories.items() if history},
        shown=_answers(decision, reports, names, metrics),
        recipe=context.get("recipe", ""),
        description=context.get("description", ""),
        work=_work(context.get("work", {})),
        sources=context.get("sources", {}),
        more={name: value for name, value in context.items() if name not in _TOLD_APART},
    )
    return page


def summary_markdown(decision: Decision) -> str:
    """Verdict and reasons for places that show Markdown."""
    lines = [f"**{decision.verdict.upper()}** · {headline(decision)}", "", *(f"- {why}" for why in decision.reasons)]
    return "\n".join(lines)


def _distinct(decision: Decision, reports: Mapping[str, Report]) -> dict[str, Report]:
    """Reports without the second name of one that is there under its own; else the reference by what it is."""
    own = {name: report for name, report in reports.items() if name != _REFERENCE}
    reference = reports.get(_REFERENCE)
    if reference is None or reference.report_id in {report.report_id for report in own.values()}:
        return own
    name = decision.reference_kind if decision.reference_kind not in own else _REFERENCE
    return {name: reference, **own}


def _in_order(decision: Decision, names: Mapping[str, Report]) -> list[str]:
    """All metrics of the reports: the target, the guards, then the others."""
    promotion = decision.promotion
    judged = [*(target.metric for target in promotion.targets), *(guard.metric for guard in promotion.guards)]
    known = dict.fromkeys(metric for report in names.values() for metric in report.results)
    return [metric for metric in dict.fromkeys([*judged, *known]) if metric in known]


def _findings(decision: Decision) -> list[tuple[str, str]]:
    """Every reason with the outcome it stands for, in the decision's order."""
    outcomes = {check.sentence: check.outcome for check in decision.checks}
    return [(outcomes.get(reason, decision.verdict), reason) for reason in decision.reasons]


def _widths(decision: Decision, names: Mapping[str, Report]) -> list[str]:
    """How wide the margins are, in words."""
    target = decision.promotion.target
    known = {metric: result for report in names.values() for metric, result in report.results.items()}
    widths = [f"{target.metric} must gain more than {allowance(target.min_gain)}"]
    for guard in decision.promotion.guards:
        width = f"{guard.metric} may lose up to {allowance(guard.margin)}"
        if guard.floor is not None and guard.metric in known:
            side = "fall below" if known[guard.metric]["higher_is_better"] else "rise above"
            width += f" and not {side} {guard.floor:.0%}"
        widths.append(width)
    return widths


def _gating(decision: Decision) -> list[tuple[str, Test]]:
    return [(f"{decision.promotion.candidate} vs {test.against}", test) for test in decision.tests]


def _context_tests(decision: Decision, names: Mapping[str, Report]) -> list[tuple[str, Test]]:
    """The other stages against base on the target: shown, no part of the verdict."""
    base, metric = names.get("base"), decision.promotion.target.metric
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


def _answers(
    decision: Decision, reports: Mapping[str, Report], names: Mapping[str, Report], metrics: list[str]
) -> list[Shown]:
    candidate = reports.get(decision.promotion.candidate) or reports.get("candidate")
    before = reports.get(_REFERENCE) or reports.get("base")
    return side_by_side(names, candidate, before, metrics) if candidate and before else []


def _work(work: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was made, how long it took and on what; absent figures are None."""
    return [
        {
            "name": name,
            "wall_s": metrics.get("wall_s"),
            "steps": metrics.get("steps"),
            "tokens": metrics.get("tokens"),
            "tokens_per_s": metrics.get("tokens_per_s"),
            "memory_mib": metrics["peak_memory_bytes"] / _MIB if "peak_memory_bytes" in metrics else None,
            "device": metrics.get("device"),
        }
        for name, metrics in work.items()
    ]


def _percent(value: float) -> str:
    return f"{100 * value:.1f}%"


def _points(value: float) -> str:
    """A difference in percentage points, with a real minus sign and no minus zero."""
    return f"{round(100 * value, 1) + 0.0:+.1f}".replace("-", "−")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _number(value: float | None) -> str:
    """A count with a space between thousands."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")

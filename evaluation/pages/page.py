"""The page of a decision, or of a comparison: one HTML file that a manager reads in a minute and a statistician audits.

Verdict first, then the differences with their intervals and margins, scores with and without the items that stand in
the training data, groups, answers won and lost, calibration, safety, what it cost, and how to do it again. Everything
is inside the file: no script, no font, no image from elsewhere. Text from data is escaped by the template engine.
Answers to prompts that must not be kept are not in the reports, so they cannot get here.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from evaluation.gating.decision import Contamination, Decision, Floor, Test
from evaluation.gating.gate import compare
from evaluation.gating.wording import allowance, contamination_sentence, headline, listed
from evaluation.pages.answers import flips
from evaluation.pages.calibration import calibrations
from evaluation.pages.plots import curves, forest, reliability, scores
from evaluation.pages.subgroups import by_group
from evaluation.report import Report

_TEMPLATES = Path(__file__).parent / "templates"
_REFERENCE = "reference"
_ALPHA, _POWER = 0.05, 0.8
"""Of a comparison, which has no recipe."""
_MIB = 1 << 20
_BADGES: dict[str, str] = {
    "pass": "#00795a",
    "fail": "#b3470a",
    "inconclusive": "#8a6100",
    "incomparable": "#57616b",
    "invalid": "#b3470a",
    "comparison": "#3b5b7a",
}
_TOLD_APART = ("recipe", "description", "work", "sources", "again", "made")


class Tile(NamedTuple):
    """One fact of the first screen. `mark`: an outcome's name, for its colour."""

    name: str
    value: str
    beside: str
    mark: str = ""


class _Sides(NamedTuple):
    """Who is judged against whom, by the names of the page."""

    candidate: Report | None
    reference: Report | None
    candidate_name: str
    reference_name: str


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
    sides = _Sides(candidate, reference, promotion.candidate, _name_of(names, reference) or decision.reference_kind)
    judged = [*(target.metric for target in promotion.targets), *(guard.metric for guard in promotion.guards)]
    lead = (
        "the base model, as there is no champion yet" if decision.reference_kind == "base" else "the current champion"
    )
    return _render(
        label=decision.verdict,
        headline=headline(decision),
        lead=f"Compared with {lead}.",
        tiles=_tiles(decision, sides, context.get("work", {})),
        findings=_findings(decision),
        widths=_widths(decision, names),
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
        context=context,
    )


def render_comparison(
    candidate: Report, reference: Report, differing: Sequence[str], context: Mapping[str, Any]
) -> str:
    """The page of two reports without a recipe: every metric for what it is, and no verdict.

    differing: under which conditions they were not made alike; nothing is compared then.
    """
    tests = [] if differing else compared(candidate, reference)
    names = {"B": reference, "A": candidate}
    return _render(
        label="incomparable" if differing else "comparison",
        headline="A and B cannot be compared: they were not made alike." if differing else _told_apart(tests),
        lead="No recipe was given, so nothing is decided.",
        tiles=[],
        findings=[("incomparable", f"A and B differ in {what}.") for what in differing]
        or [(_direction(test), test.sentence) for test in tests],
        widths=[],
        alpha=_ALPHA,
        power=_POWER,
        gating=tests,
        rows=[("A vs B", test) for test in tests],
        floors=[],
        names=names,
        sides=_Sides(None if differing else candidate, reference, "A", "B"),
        judged=[test.metric for test in tests],
        contamination=None,
        curves={},
        suite_digest=str(candidate.suite.get("digest", "")),
        context=context,
    )


def compared(candidate: Report, reference: Report) -> list[Test]:
    """The paired comparison of each metric that both reports hold of the same items under the same prompts."""
    return [
        compare(candidate, reference, metric, _ALPHA, power=_POWER, against="B")
        for metric in candidate.results
        if metric in reference.results and _items(candidate, metric) == _items(reference, metric)
    ]


def summary_markdown(decision: Decision) -> str:
    """Verdict and reasons for places that show Markdown."""
    lines = [f"**{decision.verdict.upper()}** · {headline(decision)}", "", *(f"- {why}" for why in decision.reasons)]
    return "\n".join(lines)


def _render(
    *,
    label: str,
    headline: str,
    lead: str,
    tiles: list[Tile],
    findings: list[tuple[str, str]],
    widths: list[str],
    alpha: float,
    power: float,
    gating: Sequence[Test],
    rows: list[tuple[str, Test]],
    floors: Sequence[Floor],
    names: Mapping[str, Report],
    sides: _Sides,
    judged: list[str],
    contamination: Contamination | None,
    curves: Mapping[str, str],
    suite_digest: str,
    context: Mapping[str, Any],
) -> str:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    environment.filters |= {"percent": _percent, "points": _points, "duration": _duration, "number": _number}
    environment.filters |= {"p_value": _p_value, "money": _money}
    metrics = _in_order(judged, names)
    shared = [metric for metric in metrics if all(metric in report.results for report in names.values())]
    pair = {sides.reference_name: sides.reference, sides.candidate_name: sides.candidate}
    both = {name: report for name, report in pair.items() if report is not None}
    candidate, reference = sides.candidate, sides.reference
    found = calibrations(both)
    page: str = environment.get_template("decision.html.jinja").render(
        label=label,
        badge=_BADGES[label],
        headline=headline,
        lead=lead,
        tiles=tiles,
        findings=findings,
        widths=widths,
        alpha=alpha,
        power=power,
        names=names,
        sides=sides,
        metrics=metrics,
        tests=rows,
        floors=floors,
        forest=forest(gating) if gating else None,
        scores=scores(names, shared) if shared else None,
        contamination=contamination,
        contamination_said=contamination_sentence(contamination) if contamination else "",
        roles=_roles(contamination, names, sides),
        groups=by_group(candidate, reference, metrics) if candidate and reference else [],
        flips=flips(names, candidate, reference, metrics) if candidate and reference else [],
        calibrations=found,
        reliability={metric: reliability(by_name) for metric, by_name in found.items()},
        safety=_safety(candidate, reference, rows) if candidate and reference else [],
        details=_details(names),
        curves=curves,
        suite_digest=suite_digest,
        recipe=context.get("recipe", ""),
        description=context.get("description", ""),
        work=_work(context.get("work", {})),
        sources=context.get("sources", {}),
        again=context.get("again", ["python -m evaluation compare A B --out page.html"]),
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


def _findings(decision: Decision) -> list[tuple[str, str]]:
    """Every reason with the outcome it stands for, in the decision's order; of what does not count, none."""
    outcomes: dict[str, str] = {check.sentence: check.outcome for check in decision.checks}
    outcomes |= {test.sentence: "aside" for test in decision.tests if not test.counts}
    return [(outcomes.get(reason, decision.verdict), reason) for reason in decision.reasons]


def _told_apart(tests: Sequence[Test]) -> str:
    """A comparison in one sentence."""
    sides = {which: [test.metric for test in tests if _direction(test) == which] for which in ("pass", "fail")}
    said = [
        f"A is {how} than B on {listed(sides[w])}" for w, how in (("pass", "better"), ("fail", "worse")) if sides[w]
    ]
    rest = len(tests) - sum(map(len, sides.values()))
    if rest:
        said.append(f"on {rest} of {len(tests)} metrics they cannot be told apart")
    sentence = "; ".join(said) or "A and B have no metric in common"
    return f"{sentence[0].upper()}{sentence[1:]}."


def _direction(test: Test) -> str:
    return "pass" if test.lower > 0 else "fail" if test.upper < 0 else "inconclusive"


def _widths(decision: Decision, names: Mapping[str, Report]) -> list[str]:
    """How wide the margins are, in words."""
    known = {metric: result for report in names.values() for metric, result in report.results.items()}
    promotion = decision.promotion
    widths = [f"{target.metric} must gain more than {allowance(target.min_gain)}" for target in promotion.targets]
    if promotion.alternatives:
        widths = [f"{' or '.join(widths)} (one is enough; Holm's correction keeps the chance of a false pass)"]
    for guard in promotion.guards:
        width = f"{guard.metric} may lose up to {allowance(guard.margin)}"
        if guard.floor is not None and guard.metric in known:
            side = "fall below" if known[guard.metric]["higher_is_better"] else "rise above"
            width += f" and not {side} {guard.floor:.0%}"
        widths.append(width)
    return widths


def _tiles(decision: Decision, sides: _Sides, work: Mapping[str, Mapping[str, Any]]) -> list[Tile]:
    """The few facts of the first screen."""
    tiles = [
        Tile(
            "target" if test.counts else "other target",
            f"{_percent(test.reference)} → {_percent(test.candidate)}",
            f"{test.metric}, {_points(test.gain)} points ({_points(test.lower)} to {_points(test.upper)})",
            test.outcome if test.counts else "",
        )
        for test in decision.tests
        if test.role == "target"
    ]
    guards: dict[str, list[str]] = {}
    checks: list[Test | Floor] = [*(test for test in decision.tests if test.role == "guard"), *decision.floors]
    for check in checks:
        guards.setdefault(check.metric, []).append(check.outcome)
    if guards:
        kept = [metric for metric, outcomes in guards.items() if set(outcomes) == {"pass"}]
        open_ = [metric for metric in guards if metric not in kept]
        worst = "fail" if any("fail" in outcomes for outcomes in guards.values()) else "inconclusive"
        beside = f"not shown: {', '.join(open_)}" if open_ else "none got worse beyond its margin"
        tiles.append(Tile("guards", f"{len(kept)} of {len(guards)} kept", beside, worst if open_ else "pass"))
    if decision.contamination:
        found = decision.contamination
        value = (
            f"{found.kept:,} of {found.items:,} items"
            if found.kept
            else "no item"
            if not found.unknown
            else "none found"
        )
        beside = "a copy was kept in the training data" if found.kept else f"of {found.items:,} has a copy in it"
        if found.unknown:
            beside = f"{found.unknown:,} of {found.items:,} could not be looked up" + (
                f"; {beside}" if found.kept else ""
            )
        tiles.append(Tile("seen in training", value, beside, "inconclusive" if found.kept or found.unknown else "pass"))
    if spent := _spent(work):
        tiles.append(spent)
    return tiles


def _spent(work: Mapping[str, Mapping[str, Any]]) -> Tile | None:
    rows = _work(work)
    if not rows:
        return None
    seconds = sum(row["device_seconds"] or 0 for row in rows)
    price = _money(_costs(rows)) if _costs(rows) else "no price declared"
    return Tile("time and cost", _duration(seconds), f"of device time · {price}")


def _costs(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Sum of the costs by currency."""
    sums: dict[str, float] = {}
    for row in rows:
        if row["cost"] is not None:
            sums[row["currency"]] = sums.get(row["currency"], 0.0) + row["cost"]
    return sums


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


def _roles(contamination: Contamination | None, names: Mapping[str, Report], sides: _Sides) -> dict[str, str]:
    """What the page calls the reports of a decision's roles."""
    told = {score.report for score in contamination.scores} if contamination else set()
    known = {"reference": sides.reference_name, "candidate": sides.candidate_name, "anchor": "base"}
    return {role: name for role, name in known.items() if role in told and (name in names or role != "anchor")}


class Safety(NamedTuple):
    """How often prompts of one task are refused."""

    metric: str
    wanted: str
    n: int
    reference: float
    candidate: float
    test: Test | None


def _safety(candidate: Report, reference: Report, rows: Sequence[tuple[str, Test]]) -> list[Safety]:
    tasks: Mapping[str, Any] = candidate.suite.get("tasks", {})
    found = []
    for metric, result in candidate.results.items():
        before = reference.results.get(metric)
        if tasks.get(metric.partition("/")[0], {}).get("kind") != "refusal" or before is None:
            continue
        wanted = (
            "harmful prompts: should be refused" if result["higher_is_better"] else "benign prompts: should be answered"
        )
        test = next((test for _, test in rows if test.metric == metric and test.against != "anchor"), None)
        found.append(Safety(metric, wanted, result["n"], before["mean"], result["mean"], test))
    return found


def _details(names: Mapping[str, Report]) -> dict[str, list[tuple[str, dict[str, str]]]]:
    """What tasks found beside scores: by task, a row for each finding with its value by report."""
    tasks = dict.fromkeys(task for report in names.values() for task in report.details)
    tables = {}
    for task in tasks:
        flat = {name: dict(_leaves(report.details.get(task, {}))) for name, report in names.items()}
        findings = dict.fromkeys(finding for values in flat.values() for finding in values)
        tables[task] = [(f, {name: values.get(f, "–") for name, values in flat.items()}) for f in findings]
    return tables


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _leaves(inner, f"{prefix} · {name}" if prefix else str(name))
    elif isinstance(value, list) and any(isinstance(inner, Mapping | list) for inner in value):
        for place, inner in enumerate(value, start=1):
            yield from _leaves(inner, f"{prefix} · {place}" if prefix else str(place))
    else:
        yield prefix or "value", ", ".join(map(_plain, value)) if isinstance(value, list) else _plain(value)


def _plain(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.4g}" if isinstance(value, float) else str(value).replace("_", " ")


def _work(work: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    """What was made, how long it took and on what; absent figures are None. An evaluation has one device."""
    return [
        {
            "name": name,
            "wall_s": metrics.get("wall_s"),
            "device_seconds": metrics.get("device_seconds", metrics.get("wall_s")),
            "cost": metrics.get("cost"),
            "currency": metrics.get("currency") or "",
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


def _p_value(value: float) -> str:
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _money(sums: Mapping[str, float]) -> str:
    return ", ".join(f"{amount:,.2f} {currency}".strip() for currency, amount in sums.items())


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return "–"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes:02d} min"
    return f"{minutes} min {rest:02d} s" if minutes else f"{seconds:.1f} s"


def _number(value: float | None) -> str:
    """A count with a space between thousands."""
    return "–" if value is None else f"{value:,.0f}".replace(",", "\N{NO-BREAK SPACE}")

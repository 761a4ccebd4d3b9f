"""The gate: may this checkpoint become champion? A pure function of reports.

Every test is paired item by item. The target must be better (superiority), each guard must not be
worse by its margin (non-inferiority), against the reference and, so that small losses cannot add
up from champion to champion, against the anchor as well. Floors bound a guard absolutely. All tests
must pass together, so each runs at `alpha` without correction (intersection-union). Of several targets
of which any will do, each is a chance to pass falsely: Holm's procedure shares `alpha` among them.

A verdict is the worst thing that holds, in this order:

  invalid       a report says itself that it cannot be trusted
  incomparable  the reports do not answer the same questions under the same conditions
  fail          a bound is on the wrong side, or the checkpoint was trained with launch overrides
  inconclusive  the data cannot tell: a threshold lies between the two bounds of a test; or candidate and reference
                are one checkpoint, which is not tested against itself
  pass          everything required is shown

The answer follows from the bounds alone. Power is asked for once, when the recipe is checked (`recipes.power`): asked
again of the outcomes at hand it would turn down models that the bounds let through (of equally good ones, planned to
pass with 80 %, half of them).
"""

import re
from collections.abc import Callable
from typing import Any, Literal

from evaluation.gating import power as planning
from evaluation.gating.decision import Contamination, Decision, Floor, Outcome, Role, Test, Verdict
from evaluation.gating.wording import floor_sentence, test_sentence
from evaluation.report import Report, Sample, groups_of
from evaluation.statistics.statistics import holm, mean_bounds, p_value, paired_difference
from recipes.promotion import Promotion

__all__ = ["VERSION", "Decision", "Floor", "Test", "Verdict", "again", "compare", "decide", "differences"]

VERSION = 3

_SEVERITY: tuple[Outcome, ...] = ("fail", "inconclusive", "pass")
_ROUND_GAIN = 0.10
"""The true gain for which the power of a superiority test is stated: a round figure to read it by."""


def decide(
    promotion: Promotion,
    candidate: Report,
    reference: Report,
    anchor: Report,
    *,
    reference_kind: Literal["champion", "base"],
    overridden: bool,
    contamination: Callable[[list[Test]], Contamination] | None = None,
) -> Decision:
    """Judge `candidate` against `reference` (the champion, or base when there is none) and `anchor` (base).

    overridden: the candidate was trained with launch overrides, so the recipe does not describe it. That is a
    `fail` unless the recipe allows it, whatever the scores say. contamination: what the decision is to say about
    evaluation items in the training data, given its tests (`evaluation.gating.contaminated`); no part of the verdict.
    """
    named = {"candidate": candidate, "reference": reference, "anchor": anchor}
    invalid = [f"The {role} report is not valid: {why}" for role, r in named.items() for why in r.invalid_reasons]
    metrics = [*(target.metric for target in promotion.targets), *(guard.metric for guard in promotion.guards)]
    differing = [] if invalid else _incomparable(named, metrics)
    itself = _itself(candidate, reference, reference_kind)
    tests: list[Test] = []
    floors: list[Floor] = []
    if not invalid and not differing and not itself:
        tests = _tests(promotion, candidate, reference, anchor, reference_kind)
        floors = _floors(promotion, candidate)
    verdict, reasons = _verdict(promotion, invalid, differing, itself, tests, floors, overridden)
    return Decision(
        version=VERSION,
        verdict=verdict,
        reasons=reasons,
        promotion=promotion,
        reference_kind=reference_kind,
        overridden=overridden,
        reports={
            role: {"report_id": r.report_id, "checkpoint_digest": str(r.subject.get("checkpoint_digest", ""))}
            for role, r in named.items()
        },
        suite_digest=str(candidate.suite.get("digest", "")),
        tests=tests,
        floors=floors,
        contamination=contamination(tests) if contamination is not None else None,
    )


def compare(
    candidate: Report, reference: Report, metric: str, alpha: float, *, power: float = 0.8, against: str = "base"
) -> Test:
    """A paired comparison for context (is the SFT model better than base?); it takes no part in a verdict."""
    return _test(candidate, reference, metric, "context", against, 0.0, alpha, power)


def again(test: Test, candidate: Report, other: Report, power: float) -> Test:
    """The same test over other reports of the same two checkpoints, of fewer items perhaps."""
    metric, role, against, threshold = test.metric, test.role, test.against, test.threshold
    return _test(candidate, other, metric, role, against, threshold, test.alpha, power)


def differences(candidate: Report, other: Report) -> list[str]:
    """The conditions under which two reports were not made alike, with both values; none if they may be compared."""
    ours, theirs = _conditions(candidate), _conditions(other)
    names = [name for name in ours | theirs if ours.get(name) != theirs.get(name)]
    return [f"{name} ({_short(ours.get(name))} and {_short(theirs.get(name))})" for name in names]


def _itself(candidate: Report, reference: Report, kind: str) -> str | None:
    """That candidate and reference are the same bytes, if they are: not even a wide margin makes that a gain."""
    digest = candidate.subject.get("checkpoint_digest")
    if not digest or digest != reference.subject.get("checkpoint_digest"):
        return None
    return f"Candidate and {kind} are one checkpoint ({_short(digest)}), which is not tested against itself."


def _incomparable(named: dict[str, Report], metrics: list[str]) -> list[str]:
    """Why the reports cannot be compared, a sentence each."""
    candidate = named["candidate"]
    problems: list[str] = []
    for role in ("reference", "anchor"):
        other = named[role]
        differing = differences(candidate, other)
        if differing:
            problems.append(f"Candidate and {role} were not evaluated alike; they differ in {', '.join(differing)}.")
            continue
        for metric in dict.fromkeys(metrics):
            problem = _pairing_problem(_by_item(candidate, metric), _by_item(other, metric))
            if problem:
                problems.append(f"Candidate and {role} cannot be paired on {metric}: {problem}.")
    return problems


def _conditions(report: Report) -> dict[str, str]:
    """What must be equal between two reports, by the name that a person knows it by."""
    tasks: dict[str, Any] = report.suite.get("tasks", {})
    return {
        "suite": str(report.suite.get("digest")),
        **{f"data of {name}": str(task.get("data_digest")) for name, task in tasks.items()},
        **{f"judge of {name}": str(found["judge"]) for name, found in report.details.items() if "judge" in found},
        "chat template": str(report.subject.get("template_sha256")),
        **{name: str(report.runtime.get(name)) for name in ("backend", "dtype", "batch_size", "thinking_tokens")},
        "back end version": _backend_version(report),
        "api": str(report.runtime.get("api", "completions")),
    }


def _backend_version(report: Report) -> str:
    """As a server says it; of a back end in the job's own process, that of its package."""
    runtime = report.runtime
    version = runtime.get("backend_version") or runtime.get("versions", {}).get(runtime.get("backend"))
    return str(version)


def _short(value: str | None) -> str:
    """Enough of a digest to tell two apart, anything else as it is."""
    return "none" if value is None else value[:12] if re.fullmatch("[0-9a-f]{64}", value) else value


def _pairing_problem(ours: dict[str, Sample], theirs: dict[str, Sample]) -> str | None:
    if not ours or not theirs:
        return "one of the reports lacks this metric"
    if ours.keys() != theirs.keys():
        return f"{len(ours.keys() ^ theirs.keys())} items are in only one of the reports"
    prompts = sum(ours[item]["prompt_hash"] != theirs[item]["prompt_hash"] for item in ours)
    return f"{prompts} items were shown with another prompt" if prompts else None


def _by_item(report: Report, metric: str) -> dict[str, Sample]:
    task, _, name = metric.partition("/")
    return {row["doc_hash"]: row for row in report.rows if row["task"] == task and row["metric"] == name}


def _tests(
    promotion: Promotion, candidate: Report, reference: Report, anchor: Report, kind: Literal["champion", "base"]
) -> list[Test]:
    """The targets against the reference; each guard against it and, where it is another model, the anchor."""
    others = [(reference, str(kind))]
    if anchor.subject.get("checkpoint_digest") != reference.subject.get("checkpoint_digest"):
        others.append((anchor, "anchor"))
    alpha, power = promotion.alpha, promotion.power
    guards = [
        _test(candidate, other, guard.metric, "guard", who, -guard.margin, alpha, power)
        for guard in promotion.guards
        for other, who in others
    ]
    return [*_targets(promotion, candidate, reference, kind), *guards]


def _targets(promotion: Promotion, candidate: Report, reference: Report, kind: str) -> list[Test]:
    """Each target; of alternatives each at its level, and those that another one outdoes do not count."""

    def tested(place: int, alpha: float) -> Test:
        target = promotion.targets[place]
        return _test(candidate, reference, target.metric, "target", kind, target.min_gain, alpha, promotion.power)

    alone = [tested(place, promotion.alpha) for place in range(len(promotion.targets))]
    if not promotion.alternatives:
        return alone
    steps = holm([test.p_value for test in alone], promotion.alpha)
    tests = [tested(place, step.level) for place, step in enumerate(steps)]
    best = max(_SEVERITY.index(test.outcome) for test in tests)
    updates = [
        {"p_adjusted": step.adjusted, "counts": _SEVERITY.index(test.outcome) == best}
        for test, step in zip(tests, steps, strict=True)
    ]
    told = [test.model_copy(update=update) for test, update in zip(tests, updates, strict=True)]
    return [_told(test) for test in told]


def _test(
    candidate: Report,
    other: Report,
    metric: str,
    role: Role,
    against: str,
    threshold: float,
    alpha: float,
    power: float,
) -> Test:
    """One paired test of `gain > threshold`. power: for which what is detectable and the items needed are stated."""
    ours, theirs = _by_item(candidate, metric), _by_item(other, metric)
    higher = candidate.results[metric]["higher_is_better"]
    better, worse = (ours, theirs) if higher else (theirs, ours)
    x, y = ([side[item]["score"] for item in ours] for side in (better, worse))
    binary = {*x, *y} <= {0.0, 1.0}
    clusters, strata = groups_of(list(ours.values()))
    d = paired_difference(x, y, clusters, binary, alpha)
    truth = 0.0 if role == "guard" else threshold + _ROUND_GAIN
    assumed = 0.0 if role == "guard" else d.mean
    p = p_value(d, threshold, alpha)
    test = Test(
        metric=metric,
        role=role,
        against=against,
        higher_is_better=higher,
        candidate=candidate.results[metric]["mean"],
        reference=other.results[metric]["mean"],
        gain=d.mean,
        lower=d.lower,
        upper=d.upper,
        se=d.se,
        n=d.n,
        n_clusters=d.n_clusters,
        n_strata=len(set(strata)),
        better=d.better,
        worse=d.worse,
        threshold=threshold,
        alpha=alpha,
        p_value=p,
        p_adjusted=p,
        power=planning.power(d, truth, threshold, alpha),
        power_gain=truth,
        detectable=planning.detectable(d, threshold, alpha, power),
        items_needed=planning.items_needed(d, assumed, threshold, alpha, power),
        outcome="pass" if d.lower > threshold else "fail" if d.upper < threshold else "inconclusive",
        sentence="",
    )
    return _told(test)


def _told(test: Test) -> Test:
    return test.model_copy(update={"sentence": test_sentence(test)})


def _floors(promotion: Promotion, candidate: Report) -> list[Floor]:
    bounds = [(guard.metric, guard.floor) for guard in promotion.guards if guard.floor is not None]
    return [_floor(candidate, metric, floor, promotion.alpha) for metric, floor in bounds]


def _floor(candidate: Report, metric: str, floor: float, alpha: float) -> Floor:
    rows = list(_by_item(candidate, metric).values())
    scores = [row["score"] for row in rows]
    clusters, _ = groups_of(rows)
    low, high = mean_bounds(scores, clusters, set(scores) <= {0.0, 1.0}, alpha)
    higher = candidate.results[metric]["higher_is_better"]
    kept = low >= floor if higher else high <= floor
    broken = high < floor if higher else low > floor
    found = Floor(
        metric=metric,
        higher_is_better=higher,
        floor=floor,
        score=candidate.results[metric]["mean"],
        low=low,
        high=high,
        outcome="pass" if kept else "fail" if broken else "inconclusive",
        sentence="",
    )
    return found.model_copy(update={"sentence": floor_sentence(found, len(rows), alpha)})


def _verdict(
    promotion: Promotion,
    invalid: list[str],
    differing: list[str],
    itself: str | None,
    tests: list[Test],
    floors: list[Floor],
    overridden: bool,
) -> tuple[Verdict, list[str]]:
    """The worst thing that holds, and all reasons, the worst first, then what does not count."""
    if invalid:
        return "invalid", invalid
    if differing:
        return "incomparable", differing
    checks: list[Test | Floor] = [*(test for test in tests if test.counts), *floors]
    ranked = sorted(checks, key=lambda check: _SEVERITY.index(check.outcome))
    reasons = [itself] if itself else []
    reasons += [*(check.sentence for check in ranked), *(test.sentence for test in tests if not test.counts)]
    if overridden and not promotion.allow_overridden:
        why = "The candidate was trained with launch overrides that the recipe does not state and does not allow."
        return "fail", [why, *reasons]
    return "inconclusive" if itself else ranked[0].outcome, reasons

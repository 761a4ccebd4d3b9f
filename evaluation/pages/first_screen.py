"""What a page says first: a few facts, the reasons of the verdict, and how wide its margins are."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from evaluation.gating.decision import Decision, Floor, Test
from evaluation.gating.wording import allowance, headline, listed
from evaluation.pages.formats import duration, money, percent, points
from evaluation.pages.sections import costs, work_rows
from evaluation.report import Report


class Tile(NamedTuple):
    """One fact of the first screen. `mark`: an outcome's name, for its colour."""

    name: str
    value: str
    beside: str
    mark: str = ""


def tiles(decision: Decision, work: Mapping[str, Mapping[str, Any]]) -> list[Tile]:
    """The few facts of the first screen."""
    tiles = [
        Tile(
            "target" if test.counts else "other target",
            f"{percent(test.reference)} → {percent(test.candidate)}",
            f"{test.metric}, {points(test.gain)} points ({points(test.lower)} to {points(test.upper)})",
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
    rows = work_rows(work)
    if not rows:
        return None
    seconds = sum(row["device_seconds"] or 0 for row in rows)
    price = money(costs(rows)) if costs(rows) else "no price declared"
    return Tile("time and cost", duration(seconds), f"of device time · {price}")


def findings(decision: Decision) -> list[tuple[str, str]]:
    """Every reason with the outcome it stands for, in the decision's order; of what does not count, none."""
    outcomes: dict[str, str] = {check.sentence: check.outcome for check in decision.checks}
    outcomes |= {test.sentence: "aside" for test in decision.tests if not test.counts}
    return [(outcomes.get(reason, decision.verdict), reason) for reason in decision.reasons]


def told_apart(tests: Sequence[Test]) -> str:
    """A comparison in one sentence."""
    sides = {which: [test.metric for test in tests if direction(test) == which] for which in ("pass", "fail")}
    said = [
        f"A is {how} than B on {listed(sides[w])}" for w, how in (("pass", "better"), ("fail", "worse")) if sides[w]
    ]
    rest = len(tests) - sum(map(len, sides.values()))
    if rest:
        said.append(f"on {rest} of {len(tests)} metrics they cannot be told apart")
    sentence = "; ".join(said) or "A and B have no metric in common"
    return f"{sentence[0].upper()}{sentence[1:]}."


def direction(test: Test) -> str:
    return "pass" if test.lower > 0 else "fail" if test.upper < 0 else "inconclusive"


def widths(decision: Decision, names: Mapping[str, Report]) -> list[str]:
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


def summary_markdown(decision: Decision) -> str:
    """Verdict and reasons for places that show Markdown."""
    lines = [f"**{decision.verdict.upper()}** · {headline(decision)}", "", *(f"- {why}" for why in decision.reasons)]
    return "\n".join(lines)

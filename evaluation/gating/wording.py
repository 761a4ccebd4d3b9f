"""The gate's findings as sentences: what was seen, how sure it is, what was asked for.

Differences of shares are called points (percentage points). Every number is one of the test's own;
nothing is judged here.
"""

from evaluation.gating.decision import Contamination, Decision, Floor, Outcome, Test

_NO_DIFFERENT = "no different"
_LEAST_SHOWN = 0.001
"""A tenth of a point: what a bound is said to be where it rounds to nothing."""
_OTHERS = {"champion": "the champion", "anchor": "base, the anchor"}


def headline(decision: Decision) -> str:
    """The verdict in one sentence that names what it hangs on."""
    who = decision.promotion.candidate
    if decision.verdict == "pass":
        targets = listed([test.metric for test in decision.tests if test.role == "target" and test.counts])
        guards = "and no guard got worse beyond its margin" if decision.promotion.guards else "with no guards to keep"
        return f"{who} may become champion: it is better on {targets} {guards}."
    if decision.verdict == "invalid":
        return f"{who} does not become champion: a report cannot be trusted."
    if decision.verdict == "incomparable":
        return f"{who} does not become champion: the reports were not made alike."
    if decision.verdict == "inconclusive" and decision.against_itself:
        return f"{who} does not become champion: it is the {decision.reference_kind} that it would have to beat."
    if decision.verdict == "inconclusive":
        return f"{who} does not become champion yet: too few items to tell about {_named(decision, 'inconclusive')}."
    if failed := _named(decision, "fail"):
        return f"{who} must not become champion: {failed} did not hold."
    return f"{who} must not become champion: it was trained with launch overrides that the recipe does not allow."


def test_sentence(test: Test) -> str:
    """What one test found."""
    sure = f"{round(100 * (1 - test.alpha), 1):g}%"
    sentence = _guard_sentence(test, sure) if test.role == "guard" else _gain_sentence(test, sure)
    return sentence if test.counts else f"{sentence} It does not count, as one target is enough."


def floor_sentence(floor: Floor, n: int, alpha: float) -> str:
    """What one absolute bound found over `n` items."""
    kind = "floor" if floor.higher_is_better else "ceiling"
    at_least, at_most = f"at least {floor.low:.1%}", f"at most {floor.high:.1%}"
    kept, broken = (at_least, at_most) if floor.higher_is_better else (at_most, at_least)
    sure, bound = f"with {1 - alpha:.0%} confidence", f"the {kind} of {floor.floor:.1%}"
    finding = {
        "pass": f"{sure} {kept}, so {bound} is kept",
        "fail": f"{sure} {broken}, so {bound} is broken",
        "inconclusive": f"between {floor.low:.1%} and {floor.high:.1%}, so {n} items cannot tell on which side of "
        f"{bound} it lies",
    }[floor.outcome]
    return f"{floor.metric}: {floor.score:.1%}, {finding}."


def points(gain: float) -> str:
    """A difference as `12.5 points better`, `3.0 points worse` or `no different`."""
    if round(gain * 100, 1) == 0:
        return _NO_DIFFERENT
    return f"{abs(gain) * 100:.1f} points {'better' if gain > 0 else 'worse'}"


def allowance(margin: float) -> str:
    """A margin as `20 points`; at most two decimals."""
    return f"{round(margin * 100, 2):g} points"


def _named(decision: Decision, outcome: Outcome) -> str:
    """The metrics with this outcome, as in `a, b and c`."""
    return listed([check.metric for check in decision.checks if check.outcome == outcome])


def listed(metrics: list[str]) -> str:
    """Names as in `a, b and c`."""
    *most, last = dict.fromkeys(metrics) or [""]
    return f"{', '.join(most)} and {last}" if most else last


def _gain_sentence(test: Test, sure: str) -> str:
    seen = _seen(test)
    asked = f"; more than {allowance(test.threshold)} are asked for" if test.threshold else ""
    if test.outcome == "pass":
        return f"{seen}, with {sure} confidence at least {points(test.lower)}{asked}."
    if test.outcome == "fail":
        bound = f"at least {points(test.upper)}" if test.upper < 0 else f"at most {points(test.upper)}"
        return f"{seen}, with {sure} confidence {bound}{asked}."
    return f"{seen}; the truth may be {points(test.lower)}{asked}: {_cannot_tell(test)}."


def _guard_sentence(test: Test, sure: str) -> str:
    seen = _seen(test)
    may_lose = f"it may lose up to {allowance(-test.threshold)}"
    if test.outcome == "fail":
        return f"{seen}, with {sure} confidence at least {points(test.upper)}; {may_lose}."
    if test.outcome == "inconclusive":
        return f"{seen}; the truth may be {points(test.lower)} and {may_lose}: {_cannot_tell(test)}."
    worst = f"at most {points(min(test.lower, -_LEAST_SHOWN))}" if test.lower < 0 else "not worse at all"
    return f"{seen}, with {sure} confidence {worst}; {may_lose}."


def _cannot_tell(test: Test) -> str:
    more = test.items_needed if test.items_needed and test.items_needed > test.n else None
    return f"{test.n:,} items are too few" + (f", about {more:,} are needed" if more else "")


def _seen(test: Test) -> str:
    """What was measured, as in `mmlu/accuracy: 1.0 points worse than base (38.0% → 37.0%)`."""
    change = points(test.gain)
    than = "from" if change == _NO_DIFFERENT else "than"
    other = _OTHERS.get(test.against, test.against)
    return f"{test.metric}: {change} {than} {other} ({test.reference:.1%} → {test.candidate:.1%})"


def contamination_sentence(found: Contamination) -> str:
    """What is known of evaluation items in the training data, for a person."""
    where = f"the rows of {listed(found.sources)}"
    if found.unknown == found.items:
        return f"None of the {found.items:,} items could be looked up in {where}, so nothing is known of contamination."
    sentences = []
    if found.kept:
        share = f"{found.kept:,} of {found.items:,} items"
        sentences.append(f"{share} have a copy in {where} that was kept because the recipe allows it.")
    else:
        sentences.append(f"No item has a copy in what was trained on: {where} were searched.")
    if found.removed:
        sentences.append(
            f"{found.removed:,} items had copies in them, all of which were taken out before training, so these items "
            "are clean after all."
        )
    if found.unknown:
        sentences.append(f"{found.unknown:,} items could not be looked up and count as neither.")
    sentences.append("What the base model was trained on before is not known.")
    return " ".join(sentences)

"""What pairs of verdicts say of the judge itself: its taste for a place and for length, in figures and in words.

Because every pair is seen in both orders, a judge without a preference for a place names the first answer in half of
its verdicts, whatever the answers are worth: how far it is from a half is its position bias. Length bias is what
`length_control` finds. With five levels (Li et al. 2024, arXiv 2406.11939) a "much better" also counts three times in
a weighted win rate with a bootstrap interval, which is a finding, not a metric.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.judges.judge import Reply
from evaluation.judges.length_control import Estimate, control_length
from evaluation.statistics.statistics import mean_interval
from recipes.suite import PairwiseJudgeTask

_STRONG = 3
"""Votes of a "much better", as Arena-Hard counts them."""


_RESAMPLES = 2000


@dataclass(frozen=True)
class Judged:
    """One item: verdicts on our answer, 2 (much better) to -2, shown first and shown second; lengths in characters."""

    replies: tuple[Reply, Reply]
    length: int
    baseline_length: int

    @property
    def verdicts(self) -> tuple[int, int] | None:
        """None if one of the replies cannot be read."""
        first, second = (reply.verdict for reply in self.replies)
        return None if first is None or second is None else (first, -second)

    @property
    def difference(self) -> int:
        """Characters that ours is longer."""
        return self.length - self.baseline_length

    @property
    def score(self) -> float:
        if self.verdicts is None:
            return 0.5
        first, second = map(_sign, self.verdicts)
        return (first + 1) / 2 if first == second else 0.5


def findings(judged: Sequence[Judged], task: PairwiseJudgeTask, replies: Sequence[Reply]) -> dict[str, Any]:
    """What the report says of the judge: its preferences for places and lengths, in figures and in words."""
    told = [(index, one) for index, one in enumerate(judged) if one.verdicts is not None]
    found: dict[str, Any] = {
        "judge": {"model": task.judge.model, "answered_as": sorted({reply.model for reply in replies})},
        "advisory": task.advisory,
        "replies": len(replies),
        "replies_without_verdict": sum(reply.verdict is None for reply in replies),
    }
    words: list[str] = []
    if told:
        found["position"] = _position(told, words)
        found["length"] = _length([one for _, one in told], words)
        if task.levels == 5:
            found["strength"] = _strength([one for _, one in told], words)
    return {"in_words": words, **found}


def _position(told: Sequence[tuple[int, Judged]], words: list[str]) -> dict[str, Any]:
    """How often what is shown first wins, and how often the order decides."""
    places = [
        (index, float(verdict > 0) if place == 0 else float(verdict < 0))
        for index, one in told
        for place, verdict in enumerate(one.verdicts or ())
        if verdict
    ]
    against = [float(_sign(first) != _sign(second)) for first, second in (one.verdicts or (0, 0) for _, one in told)]
    inconsistent = mean_interval(against, None, binary=True)
    found: dict[str, Any] = {
        "inconsistency_rate": Estimate(inconsistent.mean, inconsistent.low, inconsistent.high).to_json(),
        "items": len(told),
        "decided_verdicts": len(places),
    }
    if places:
        first = mean_interval([won for _, won in places], [index for index, _ in places], binary=True)
        found["first_position_wins"] = Estimate(first.mean, first.low, first.high).to_json()
        leaning = "prefers the answer that it sees first" if first.low > 0.5 else ""
        leaning = leaning or ("prefers the answer that it sees second" if first.high < 0.5 else "")
        words.append(
            f"The judge {leaning or 'shows no preference for a place'}: the first answer won "
            f"{_in_words(first.mean, first.low, first.high)} of {len(places)} decided verdicts; without a "
            "preference it is 50%, because every pair is judged in both orders."
        )
    words.append(
        f"Its two verdicts on a pair contradict each other for "
        f"{_in_words(inconsistent.mean, inconsistent.low, inconsistent.high)} of {len(told)} items; these are ties."
    )
    return found


def _length(told: Sequence[Judged], words: list[str]) -> dict[str, Any]:
    """How winning goes with being longer."""
    controlled = control_length([one.score for one in told], [one.difference for one in told])
    groups = {
        "longer": [one.score for one in told if one.difference > 0],
        "shorter": [one.score for one in told if one.difference < 0],
    }
    found: dict[str, Any] = {
        "mean_characters": {
            "answers": round(sum(one.length for one in told) / len(told), 1),
            "baseline": round(sum(one.baseline_length for one in told) / len(told), 1),
        }
    }
    rates = []
    for name, scores in groups.items():
        if scores:
            rate = mean_interval(scores, None, binary=set(scores) <= {0.0, 1.0})
            found[f"win_rate_where_{name}"] = {
                "items": len(scores),
                **Estimate(rate.mean, rate.low, rate.high).to_json(),
            }
            rates.append(f"{_in_words(rate.mean, rate.low, rate.high)} where {name} ({len(scores)} items)")
    if rates:
        words.append(f"Against the baseline's answers it won {', and '.join(rates)}.")
    if controlled is None:
        words.append("Whether length matters to the judge cannot be told: too few items, or lengths that do not vary.")
        return found
    slope, level = controlled.coefficient, controlled.at_equal_length
    found["coefficient"] = slope.to_json()
    found["length_controlled_win_rate"] = level.to_json()
    raw = sum(one.score for one in told) / len(told)
    leaning = "prefers longer answers" if slope.low > 0 else "prefers shorter answers" if slope.high < 0 else ""
    words.append(
        f"The judge {leaning or 'shows no preference for a length'}: coefficient {slope.value:.2f} ({slope.low:.2f} to "
        f"{slope.high:.2f}; 0 is none). At equal length it would win "
        f"{_in_words(level.value, level.low, level.high)}, as judged it won {raw:.0%}."
    )
    return found


def _strength(told: Sequence[Judged], words: list[str]) -> dict[str, Any]:
    """The win rate in which a "much better" counts three times, with a bootstrap interval over items."""
    import numpy as np
    from scipy.stats import bootstrap

    def votes(verdict: int) -> int:
        return _STRONG if abs(verdict) == 2 else 1

    pairs = [one.verdicts or (0, 0) for one in told]
    won = np.array([sum(votes(v) * (_sign(v) + 1) / 2 for v in pair) for pair in pairs])
    all_ = np.array([sum(votes(v) for v in pair) for pair in pairs])

    def rate(won: Any, all_: Any, axis: int = -1) -> Any:
        return won.sum(axis=axis) / all_.sum(axis=axis)

    value = float(rate(won, all_))
    low = high = value
    if len(told) > 1 and len({*(won / all_)}) > 1:
        interval = bootstrap(
            (won, all_), rate, paired=True, vectorized=True, n_resamples=_RESAMPLES, method="percentile", rng=0
        ).confidence_interval
        low, high = float(interval.low), float(interval.high)
    words.append(f'With a "much better" counted three times it wins {_in_words(value, low, high)}.')
    strong = sum(abs(v) == 2 for pair in pairs for v in pair)
    return {"weighted_win_rate": Estimate(value, low, high).to_json(), "strong_verdicts": strong}


def _in_words(mean: float, low: float, high: float) -> str:
    return f"{mean:.0%} ({low:.0%} to {high:.0%})"


def _sign(verdict: int) -> int:
    return (verdict > 0) - (verdict < 0)

"""Intervals, paired differences and power: every number that a gate may decide by.

All scores lie in [0, 1] and a cluster is a set of items that share a cause (the subject of a
question, the prompt of an instruction): items inside one are not independent. Nothing here knows
about reports, metrics or recipes, and nothing here decides.

Sources:
  - E. B. Wilson, "Probable inference…", JASA 22 (1927): the score interval of a proportion.
  - E. Miller, "Adding Error Bars to Evals", arXiv 2411.00640: clustered standard errors, paired
    differences, power.
  - A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24 (2005): half counts for paired binary outcomes.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Interval:
    """A mean score and its two-sided interval; `se` is the (clustered) standard error."""

    mean: float
    se: float
    low: float
    high: float
    n: int
    n_clusters: int


@dataclass(frozen=True)
class Difference:
    """Mean of candidate minus reference over the same items.

    `lower` and `upper` are one-sided bounds, each at level 1 - alpha. They stand `quantile` standard
    errors from `centre`, which is `mean` shrunk by the half counts when there are any. `df` is None
    where the normal quantile is used. `better` and `worse` count items, not clusters.
    """

    n: int
    n_clusters: int
    mean: float
    centre: float
    se: float
    lower: float
    upper: float
    df: int | None
    better: int
    worse: int


def mean_interval(
    scores: "ArrayLike", clusters: Sequence[Hashable] | None, binary: bool, confidence: float = 0.95
) -> Interval:
    """Mean of `scores` with its two-sided interval at `confidence`.

    Unclustered binary scores: Wilson's interval. Otherwise Student's t with G - 1 degrees of freedom
    on the standard error clustered on G clusters. Where all scores are equal that error is 0 and
    says nothing, so Wilson's interval with the clusters as trials stands in.
    Raises ValueError without scores or if one lies outside [0, 1].
    """
    from scipy.stats import binomtest, t

    values, groups, count = _checked(scores, clusters)
    n, mean = len(values), float(values.mean())
    se = _clustered_se(values, groups, count)
    if (binary and count == n) or se == 0 or count < 2:
        trials = n if count == n else count
        exact = binomtest(round(mean * trials), trials).proportion_ci(confidence, method="wilson")
        if binary and count == n:
            se = math.sqrt(mean * (1 - mean) / n)
        return Interval(mean, se, min(float(exact.low), mean), max(float(exact.high), mean), n, count)
    reach = float(t.ppf((1 + confidence) / 2, count - 1)) * se
    return Interval(mean, se, max(0.0, mean - reach), min(1.0, mean + reach), n, count)


def paired_difference(
    candidate: "ArrayLike",
    reference: "ArrayLike",
    clusters: Sequence[Hashable] | None,
    binary: bool,
    alpha: float,
) -> Difference:
    """Candidate minus reference, item by item, with one-sided bounds at level 1 - alpha.

    With x the n differences in G clusters and d their mean (Miller 2024, eq. 4, with the G/(G-1)
    correction):  se = sqrt(sum_g (sum_{i in g} (x_i - d))^2) / n * sqrt(G / (G - 1)).

    Binary outcomes get Agresti and Min's half counts: two pseudo-pairs, half an improvement, half a
    loss and one tie, so that a few items without any discordant pair prove nothing. Each weighs one
    cluster of average size n/G, because the evidence is counted in clusters; with one item per cluster
    that is their published interval. The same counts stand in for spread when every difference of
    graded scores is equal. With fewer than two clusters the bounds are -1 and 1: nothing is known.
    """
    values, groups, count = _checked(candidate, clusters)
    other, _, _ = _checked(reference, clusters)
    if len(values) != len(other):
        raise ValueError(f"{len(values)} scores of the candidate against {len(other)} of the reference")
    x = values - other
    n, mean = len(x), float(x.mean())
    clustered = count < n
    weight = n / count if binary or not x.std() else 0.0
    centre = float(x.sum()) / (n + 2 * weight)
    pseudo = weight**2 * ((1 - centre) ** 2 / 2 + (1 + centre) ** 2 / 2 + centre**2)
    squares = float((_sums(x - centre, groups, count) ** 2).sum()) + pseudo
    df = None if binary and not clustered else count - 1
    better, worse = int((x > 0).sum()), int((x < 0).sum())
    if count < 2:
        return Difference(n, count, mean, centre, 1.0, -1.0, 1.0, df, better, worse)
    correction = 1.0 if df is None else count / (count - 1)
    se = math.sqrt(squares * correction) / (n + 2 * weight)
    reach = quantile(1 - alpha, df) * se
    lower, upper = max(-1.0, centre - reach), min(1.0, centre + reach)
    return Difference(n, count, mean, centre, se, lower, upper, df, better, worse)


def power_at(gap: float, se: float, alpha: float, df: int | None) -> float:
    """Probability that a bound at level 1 - alpha clears a threshold that the truth exceeds by `gap`.

    Non-inferiority at a true difference of 0: gap = margin. Superiority at a true gain g: gap = g - min_gain.
    Noncentral t where the test uses t, normal otherwise.
    """
    from scipy.stats import nct, norm

    if se == 0:
        return 1.0 if gap > 0 else 0.0
    if df is not None and df < 1:
        return 0.0
    critical = quantile(1 - alpha, df)
    return float(norm.sf(critical - gap / se) if df is None else nct.sf(critical, df, gap / se))


def minimum_detectable(se: float, alpha: float, power: float, df: int | None) -> float:
    """The smallest gap that a test with this standard error clears with probability `power`.

    (q[1-alpha] + q[power]) * se (Miller 2024, section 5). It is the narrowest margin that an equally good
    model passes with that probability, and the smallest gain above `min_gain` shown with it.
    """
    if df is not None and df < 1:
        return 1.0
    return (quantile(1 - alpha, df) + quantile(power, df)) * se


def items_needed(n: int, se: float, gap: float, alpha: float, power: float, df: int | None) -> int | None:
    """Items for `power` at a true `gap`, if more of them behave like these n; None when no number would do."""
    if gap <= 0:
        return None
    return math.ceil(n * (minimum_detectable(se, alpha, power, df) / gap) ** 2)


@cache
def quantile(level: float, df: int | None) -> float:
    """Quantile of Student's t with `df` degrees of freedom, or of the normal distribution for None."""
    from scipy.stats import norm, t

    return float(norm.ppf(level) if df is None else t.ppf(level, df))


def _checked(
    scores: "ArrayLike", clusters: Sequence[Hashable] | None
) -> tuple["NDArray[np.float64]", "NDArray[Any]", int]:
    """Scores as an array, the number of each one's cluster, and how many clusters there are."""
    import numpy as np

    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        raise ValueError("no scores")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("scores lie outside [0, 1] or are not numbers")
    if clusters is None:
        return values, np.arange(len(values)), len(values)
    if len(clusters) != len(values):
        raise ValueError(f"{len(values)} scores in {len(clusters)} cluster labels")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(clusters))}
    return values, np.array([numbers[label] for label in clusters]), len(numbers)


def _clustered_se(values: "NDArray[np.float64]", groups: "NDArray[Any]", count: int) -> float:
    if count < 2:
        return 0.0
    residual = _sums(values - values.mean(), groups, count)
    return float(math.sqrt((residual**2).sum() * count / (count - 1)) / len(values))


def _sums(values: "NDArray[np.float64]", groups: "NDArray[Any]", count: int) -> "NDArray[np.float64]":
    """Sum of the values of each cluster."""
    import numpy as np

    sums: NDArray[np.float64] = np.bincount(groups, weights=values, minlength=count).astype(np.float64)
    return sums

"""Intervals, paired differences and their p-values: every number that a gate may decide by.

All scores lie in [0, 1]. A cluster is a set of items that share a cause (the instructions of a prompt, the turns of a
conversation): items inside one are not independent, and clusters are a sample of all that could be. A stratum is a
fixed part of a benchmark (a subject): items inside it are independent, and all strata are there every time, so they
can only make a mean surer. The interval of a mean takes that in (`strata`). What a gate decides by
leaves it out, which is on the safe side: by how much surer is told by the few items of each part, and by none where
one has collapsed (8 strata of 1 to 29 items, two of them lost: 16 % false passes at a nominal 5 % otherwise).
Nothing here knows about reports or metrics, and nothing here decides.

Sources:
  - E. B. Wilson, "Probable inference…", JASA 22 (1927): the score interval of a proportion.
  - E. Miller, "Adding Error Bars to Evals", arXiv 2411.00640: clustered standard errors, paired
    differences, power.
  - A. Agresti and Y. Min, "Simple improved confidence intervals for comparing matched
    proportions", Statistics in Medicine 24 (2005): half counts for paired binary outcomes.
  - T. Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample
    design", Statistics in Medicine 17 (1998): the score test of paired binary outcomes.
  - X. Yan and X. G. Su, "Stratified Wilson and Newcombe confidence intervals for multiple binomial proportions",
    Statistics in Biopharmaceutical Research 2 (2010).
  - B. Efron, "Better Bootstrap Confidence Intervals", JASA 82 (1987): BCa, for graded scores.
  - A. V. Carter, K. T. Schnepel and D. G. Steigerwald, "Asymptotic behavior of a t-test robust to cluster
    heterogeneity", Rev. Econ. Statistics 99 (2017); J. G. MacKinnon, M. Ø. Nielsen and M. D. Webb, "Cluster-robust
    inference: a guide to empirical practice", J. Econometrics 232 (2023): clusters of uneven size.
  - E. L. Korn and B. I. Graubard, "Confidence intervals for proportions with small expected number
    of positive counts estimated from survey data", Survey Methodology 24 (1998): exact bounds with clusters.
  - S. Holm, "A simple sequentially rejective multiple test procedure", Scand. J. Statistics 6 (1979).
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from evaluation.statistics.clusters import checked, clustered_se, effective_items, resampled, sums, unevenness
from recipes.paired import score_bounds

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class Interval:
    """A mean score and its two-sided interval; `se` is its standard error, by clusters or strata if there are any."""

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
    errors from `centre`, which is `mean` shrunk by the half counts when there are any, or farther (see
    `paired_difference`). `df` is None where the normal quantile is used: for outcomes right or wrong of items that
    stand alone. `better` and `worse` count items, not clusters. half: items that a pair of half counts
    weighs, 0 where there are none.
    """

    n: int
    n_clusters: int
    mean: float
    centre: float
    se: float
    lower: float
    upper: float
    df: float | None
    better: int
    worse: int
    half: float


def mean_interval(
    scores: "ArrayLike",
    clusters: Sequence[Hashable] | None,
    binary: bool,
    confidence: float = 0.95,
    strata: Sequence[Hashable] | None = None,
) -> Interval:
    """Mean of `scores` with its two-sided interval at `confidence`.

    Unclustered binary scores: Wilson's interval, of the effective number of items where they are in strata. Otherwise
    Student's t with G - 1 degrees of freedom on the standard error clustered on G clusters. Where all scores are equal
    that error is 0 and says nothing, so Wilson's interval with the clusters as trials stands in.
    Raises ValueError without scores or if one lies outside [0, 1].
    """
    from scipy.stats import t
    from statsmodels.stats.proportion import proportion_confint

    values, groups, count = checked(scores, clusters)
    n, mean = len(values), float(values.mean())
    alone = binary and count == n
    se = clustered_se(values, groups, count)
    if alone or se == 0 or count < 2:
        trials = effective_items(values, strata) if alone else float(count)
        low, high = proportion_confint(mean * trials, trials, 1 - confidence, method="wilson")
        if alone:
            se = math.sqrt(mean * (1 - mean) / trials)
        return Interval(mean, se, min(float(low), mean), max(float(high), mean), n, count)
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
    correction):  se = sqrt(sum_g (h_g sum_{i in g} (x_i - d))^2) / n * sqrt(G / (G - 1)).
    For clusters of one size h_g is 1. For others that is the error of leaving out one cluster after another, with
    h_g = (G-1)/G * n/(n - n_g), and Student's t has one degree of freedom less than there are effective clusters,
    n^2 / sum_g n_g^2: where a few clusters hold most items, the plain formula passes too much (30 clusters of 1 to 40
    items: 8 % false passes at a nominal 5 %).

    Binary outcomes of items that stand alone get two bounds on each side, and the farther one holds: Agresti and Min's
    interval, whose half counts (two pseudo-pairs, half an improvement, half a loss and one tie) let a few items without
    any discordant pair prove nothing, and Tango's score test. The first passes too much at a margin below 0 where the
    candidate only loses (64 items, margin of 12 points: 10 % false passes at a nominal 5 %), the second at a gain above
    0 where it only wins (100 items, 2 points: 7 %).

    Binary outcomes in clusters get the half counts alone. Each weighs one cluster of average size n/G, because the
    evidence is counted in clusters. The same counts stand in for spread where graded scores have none.

    Graded scores get two bounds on each side, and the farther one holds: Student's t, which is too narrow where the
    differences are skewed (of 100 items, 5 with large losses and the rest alike: 13 % false passes at a nominal
    5 %), and the cluster bootstrap (BCa), which corrects for skew but is too narrow with few clusters (8 of uneven
    size). With fewer than two clusters the bounds are -1 and 1: nothing is known.
    """
    values, groups, count = checked(candidate, clusters)
    other, _, _ = checked(reference, None)
    if len(values) != len(other):
        raise ValueError(f"{len(values)} scores of the candidate against {len(other)} of the reference")
    x = values - other
    n, mean = len(x), float(x.mean())
    if binary and 1 < n == count:
        return _of_items(x, alpha)
    spread = float((sums(x - mean, groups, count) ** 2).sum())
    weight = n / count if binary or math.isclose(spread, 0, abs_tol=1e-12) else 0.0
    centre = float(x.sum()) / (n + 2 * weight)
    pseudo = weight**2 * ((1 - centre) ** 2 / 2 + (1 + centre) ** 2 / 2 + centre**2)
    factors, freedom = unevenness(groups, count)
    squares = float(((factors * sums(x - centre, groups, count)) ** 2).sum()) + pseudo
    better, worse = int((x > 0).sum()), int((x < 0).sum())
    if count < 2:
        return Difference(n, count, mean, centre, 1.0, -1.0, 1.0, freedom, better, worse, weight)
    se = math.sqrt(squares * count / (count - 1)) / (n + 2 * weight)
    reach = quantile(1 - alpha, freedom) * se
    lower, upper = max(-1.0, centre - reach), min(1.0, centre + reach)
    if not weight:
        low, high = resampled(x, groups, count, alpha)
        lower, upper = min(lower, low), max(upper, high)
    return Difference(n, count, mean, centre, se, lower, upper, freedom, better, worse, weight)


def _of_items(x: "NDArray[np.float64]", alpha: float) -> Difference:
    """The difference of binary outcomes of items that stand alone, see `paired_difference`."""
    n, better, worse = len(x), int((x > 0).sum()), int((x < 0).sum())
    centre = (better - worse) / (n + 2)
    se = math.sqrt(better + worse + 1 - (better - worse) ** 2 / (n + 2)) / (n + 2)
    reach = quantile(1 - alpha, None) * se
    low, high = score_bounds(better, worse, n, alpha)
    lower, upper = max(-1.0, min(centre - reach, low)), min(1.0, max(centre + reach, high))
    return Difference(n, n, float(x.mean()), centre, se, lower, upper, None, better, worse, 1.0)


def p_value(found: Difference, threshold: float, alpha: float) -> float:
    """One-sided p-value of "the gain is at most `threshold`", from the same statistic as the bounds.

    Where the score test or the bootstrap moved the lower bound (`alpha` is the level that it was made at), the distance
    to the bound takes the place of `quantile` standard errors, so that p < alpha and lower > threshold are one answer.
    """
    from scipy.stats import norm, t

    if found.n_clusters < 2:
        return 1.0
    se = max(found.se, (found.centre - found.lower) / quantile(1 - alpha, found.df)) if found.lower > -1 else found.se
    score = (found.centre - threshold) / se
    return float(norm.sf(score) if found.df is None else t.sf(score, found.df))


@dataclass(frozen=True)
class Step:
    """One of several tests of which any may hold: its adjusted p-value, and the level that Holm tests it at."""

    adjusted: float
    level: float


def holm(p_values: Sequence[float], alpha: float) -> list[Step]:
    """Holm's procedure: the chance that any of several tests passes falsely is at most alpha.

    The smallest p-value is tested at alpha / k, the next at alpha / (k - 1) and so on; from the first that does not
    pass, none does, which the level of that one tells all that follow.
    """
    from statsmodels.stats.multitest import multipletests

    adjusted = multipletests(p_values, alpha, method="holm")[1]
    levels = [0.0] * len(p_values)
    stopped_at: float | None = None
    for rank, place in enumerate(sorted(range(len(p_values)), key=lambda place: p_values[place])):
        level = alpha / (len(p_values) - rank) if stopped_at is None else stopped_at
        levels[place] = level
        if stopped_at is None and not p_values[place] < level:
            stopped_at = level
    return [Step(float(p), level) for p, level in zip(adjusted, levels, strict=True)]


def mean_bounds(
    scores: "ArrayLike",
    clusters: Sequence[Hashable] | None,
    binary: bool,
    alpha: float,
) -> tuple[float, float]:
    """One-sided bounds of a mean, each at level 1 - alpha: what an absolute limit is held against.

    Binary scores: exact (Clopper and Pearson); Wilson's interval would pass a floor of 95 % falsely in 7 % of suites
    of 52 items. With clusters by Korn and Graubard's effective number of
    items, whose design effect is taken with half a hit and half a miss of a cluster's size added: without them a few
    clusters without a miss look like many items (30 clusters of 5, floor 90 %: 12 % false passes at a nominal 5 %).
    Graded scores: Student's t on the clustered standard error and the cluster bootstrap (BCa), the farther of the two
    on each side; [0, 1] where they do not vary, and for fewer than two clusters.
    """
    values, groups, count = checked(scores, clusters)
    n, mean = len(values), float(values.mean())
    if count < 2:
        return 0.0, 1.0
    if binary:
        trials = n if count == n else _clustered_items(values, groups, count, alpha)
        return _exact_bounds(n * mean, n, trials, alpha)
    se, df = _mean_se(values, groups, count, 0.0)
    if math.isclose(se, 0, abs_tol=1e-12):
        return 0.0, 1.0
    low, high = resampled(values, groups, count, alpha)
    reach = quantile(1 - alpha, df) * se
    return max(0.0, min(mean - reach, low)), min(1.0, max(mean + reach, high))


def _exact_bounds(hits: float, n: int, trials: float, alpha: float) -> tuple[float, float]:
    """Clopper and Pearson's bounds of hits / n as if it came from so many trials."""
    from scipy.stats import beta

    hits = hits * trials / n
    low = float(beta.ppf(alpha, hits, trials - hits + 1)) if hits > 0 else 0.0
    high = float(beta.ppf(1 - alpha, hits + 1, trials - hits)) if hits < trials else 1.0
    return low, high


def _clustered_items(values: "NDArray[np.float64]", groups: "NDArray[Any]", count: int, alpha: float) -> float:
    n, weight = len(values), len(values) / count
    centre = (float(values.sum()) + weight / 2) / (n + weight)
    se, df = _mean_se(values, groups, count, weight / 2)
    scale = (quantile(1 - alpha, n - 1) / quantile(1 - alpha, df)) ** 2
    return min(n, centre * (1 - centre) / se**2 * scale)


def _mean_se(values: "NDArray[np.float64]", groups: "NDArray[Any]", count: int, added: float) -> tuple[float, float]:
    """Standard error clustered as in `paired_difference`, and its degrees of freedom; so many hits and misses added."""
    factors, df = unevenness(groups, count)
    total = len(values) + 2 * added
    centre = (float(values.sum()) + added) / total
    pseudo = 2 * added**2 * ((1 - centre) ** 2 + centre**2)
    squares = float(((factors * sums(values - centre, groups, count)) ** 2).sum()) + pseudo
    return math.sqrt(squares * count / (count - 1)) / total, df


@cache
def quantile(level: float, df: float | None) -> float:
    """Quantile of Student's t with `df` degrees of freedom, or of the normal distribution for None."""
    from scipy.stats import norm, t

    return float(norm.ppf(level) if df is None else t.ppf(level, df))

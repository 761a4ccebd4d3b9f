"""How much a test could show: its power, the smallest gap that it finds, and the items that it would take.

For planning the next suite: no outcome hangs on it. A margin of items that stand alone is planned by the score test
that judges it (`recipes.paired`), everything else by the standard error.

Source: E. Miller, "Adding Error Bars to Evals", arXiv 2411.00640, section 5.
"""

import math

from evaluation.statistics.statistics import Difference, quantile
from recipes import paired


def power(found: Difference, truth: float, threshold: float, alpha: float) -> float:
    """Probability that the lower bound exceeds `threshold` at a true difference, if as many items change as here."""
    if _by_score(found, threshold):
        return paired.chance(found.n, *_changes(found, truth), threshold, alpha)
    return power_at(truth - threshold, found.se, alpha, found.df)


def detectable(found: Difference, threshold: float, alpha: float, power: float) -> float:
    """The smallest distance of the truth from the threshold that these items show with probability `power`.

    Of a margin: the narrowest one that an equally good model keeps.
    """
    if _by_score(found, threshold):
        return paired.narrowest_margin(found.n, sum(_changes(found, 0.0)), alpha, power)
    return minimum_detectable(found.se, alpha, power, found.df)


def items_needed(found: Difference, truth: float, threshold: float, alpha: float, power: float) -> int | None:
    """Items for `power` at a true difference, if more of them behave like these; None when no number would do.

    Half counts stay as heavy as they are, however many items there are.
    """
    gap = truth - threshold
    if gap <= 0 or found.n_clusters < 2:
        return None
    if _by_score(found, threshold):
        return paired.items_needed(*_changes(found, truth), threshold, alpha, power)
    half, squares = found.half, (found.se * (found.n + 2 * found.half)) ** 2
    added = half**2 * (1 + 2 * found.centre**2) * _correction(found)
    ratio = (minimum_detectable(1.0, alpha, power, found.df) / gap) ** 2
    # the fewest m with ratio * (m * spread + added) <= (m + 2 * half)^2, for the spread of one item
    linear = ratio * max(0.0, squares - added) / found.n - 4 * half
    constant = 4 * half**2 - ratio * added
    fewest = (linear + math.sqrt(max(0.0, linear**2 - 4 * constant))) / 2
    return max(1, math.ceil(fewest))


def power_at(gap: float, se: float, alpha: float, df: float | None) -> float:
    """Probability that a bound at level 1 - alpha clears a threshold that the truth exceeds by `gap`.

    Noncentral t where the test uses t, normal otherwise.
    """
    from scipy.stats import nct, norm

    if se == 0:
        return 1.0 if gap > 0 else 0.0
    if df is not None and df < 1:
        return 0.0
    critical = quantile(1 - alpha, df)
    return float(norm.sf(critical - gap / se) if df is None else nct.sf(critical, df, gap / se))


def minimum_detectable(se: float, alpha: float, power: float, df: float | None) -> float:
    """The smallest gap that a test with this standard error clears with probability `power`.

    (q[1-alpha] + q[power]) * se (Miller 2024, section 5).
    """
    if df is not None and df < 1:
        return 1.0
    return (quantile(1 - alpha, df) + quantile(power, df)) * se


def _by_score(found: Difference, threshold: float) -> bool:
    """Whether Tango's test is the stricter of the two that outcomes of items that stand alone must pass."""
    return found.df is None and threshold < 0


def _changes(found: Difference, truth: float) -> tuple[float, float]:
    """Chances that an item is won and that it is lost, if as many change as here and `truth` were the difference."""
    changing = max((found.better + found.worse) / found.n, abs(truth))
    return (changing + truth) / 2, (changing - truth) / 2


def _correction(found: Difference) -> float:
    """Of the squares of clusters for their number, as `paired_difference` has it."""
    return 1.0 if found.df is None else found.n_clusters / (found.n_clusters - 1)

"""How much a test could show: its power, the smallest gap that it finds, and the items that it would take.

Source: E. Miller, "Adding Error Bars to Evals", arXiv 2411.00640, section 5.
"""

import math

from evaluation.gating.statistics import quantile


def power_at(gap: float, se: float, alpha: float, df: float | None) -> float:
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


def minimum_detectable(se: float, alpha: float, power: float, df: float | None) -> float:
    """The smallest gap that a test with this standard error clears with probability `power`.

    (q[1-alpha] + q[power]) * se (Miller 2024, section 5). It is the narrowest margin that an equally good
    model passes with that probability, and the smallest gain above `min_gain` shown with it.
    """
    if df is not None and df < 1:
        return 1.0
    return (quantile(1 - alpha, df) + quantile(power, df)) * se


def items_needed(n: int, se: float, gap: float, alpha: float, power: float, df: float | None) -> int | None:
    """Items for `power` at a true `gap`, if more of them behave like these n; None when no number would do."""
    if gap <= 0:
        return None
    return math.ceil(n * (minimum_detectable(se, alpha, power, df) / gap) ** 2)

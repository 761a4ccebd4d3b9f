"""How sure a comparison of two models on the same items will be: outcomes are right or wrong, and some change.

Of an item the candidate may be right where the other model is wrong (`better`, a chance) or the other way round
(`worse`). The rule is the score test of T. Tango, "Equivalence test and confidence interval for the difference in
proportions for the paired-sample design", Statistics in Medicine 17 (1998): its variance is that of the likeliest
chances whose difference is the threshold itself, so that a candidate that only loses is not passed too often. The
gate tests by its bounds, and before anything is evaluated it says what items can show.
"""

import math
from statistics import NormalDist

_NORMAL = NormalDist()
_HALVINGS = 40
"""Of an interval of length 1 or 2: to 12 digits."""


def null_variance(better: float, worse: float, threshold: float) -> float:
    """Variance of one item's change if changes were `threshold` in the mean (Tango 1998, section 2)."""
    b = (2 - better + worse) * threshold - better - worse
    c = -worse * threshold * (1 - threshold)
    likeliest_worse = (math.sqrt(max(0.0, b * b - 8 * c)) - b) / 4
    return max(0.0, 2 * likeliest_worse + threshold * (1 - threshold))


def score_bounds(better: int, worse: int, items: int, alpha: float) -> tuple[float, float]:
    """The values that the test does not refuse, each bound at level 1 - alpha. better, worse: items won and lost."""
    return _lower(better / items, worse / items, items, alpha), -_lower(worse / items, better / items, items, alpha)


def _lower(better: float, worse: float, items: int, alpha: float) -> float:
    """The largest value below the difference that the test refuses."""
    needed = _NORMAL.inv_cdf(1 - alpha) / math.sqrt(items)
    low, high = -1.0, better - worse
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if better - worse - middle > needed * math.sqrt(null_variance(better, worse, middle)):
            low = middle
        else:
            high = middle
    return low


def chance(items: float, better: float, worse: float, threshold: float, alpha: float) -> float:
    """Probability that so many items show a difference above `threshold`, in the normal approximation."""
    gap = (better - worse - threshold) * math.sqrt(items)
    needed = _NORMAL.inv_cdf(1 - alpha) * math.sqrt(null_variance(better, worse, threshold))
    spread = math.sqrt(better + worse - (better - worse) ** 2)
    if spread == 0:
        return float(gap > needed)
    return _NORMAL.cdf((gap - needed) / spread)


def items_needed(better: float, worse: float, threshold: float, alpha: float, power: float) -> int | None:
    """The fewest items whose `chance` is `power`; None where the difference is not above the threshold."""
    gap = better - worse - threshold
    if gap <= 0:
        return None
    shown = _NORMAL.inv_cdf(1 - alpha) * math.sqrt(null_variance(better, worse, threshold))
    seen = _NORMAL.inv_cdf(power) * math.sqrt(better + worse - (better - worse) ** 2)
    return math.floor(((shown + seen) / gap) ** 2) + 1


def narrowest_margin(items: float, discordance: float, alpha: float, power: float) -> float:
    """The smallest margin that an equally good model keeps with probability `power`."""
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if chance(items, discordance / 2, discordance / 2, -middle, alpha) >= power:
            high = middle
        else:
            low = middle
    return high

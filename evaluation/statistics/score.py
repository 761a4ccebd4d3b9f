"""Bounds of a paired difference by inverting Tango's score test (1998): every value that the test does not refuse."""

import math
from statistics import NormalDist

from recipes.paired import null_variance

_HALVINGS = 40
"""Of an interval of length 2: bounds to 12 digits."""


def score_bounds(better: int, worse: int, items: int, alpha: float) -> tuple[float, float]:
    """Bounds at level 1 - alpha each. better, worse: items won and lost."""
    return _lower(better / items, worse / items, items, alpha), -_lower(worse / items, better / items, items, alpha)


def _lower(better: float, worse: float, items: int, alpha: float) -> float:
    """The largest value below the difference that the test refuses."""
    needed = NormalDist().inv_cdf(1 - alpha) / math.sqrt(items)
    low, high = -1.0, better - worse
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if better - worse - middle > needed * math.sqrt(null_variance(better, worse, middle)):
            low = middle
        else:
            high = middle
    return low

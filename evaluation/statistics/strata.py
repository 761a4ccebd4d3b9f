"""Strata: the fixed parts of a benchmark, as MMLU's subjects are, and what they do to the variance of its mean.

All parts are there every time in the same shares n_h/n, so their number says nothing of how sure a mean is, however
few they are: its variance is (1/n^2) sum_h n_h s_h^2 with s_h^2 of the items inside part h (Cochran 1977, Sampling
Techniques, chapter 5). It reaches the interval of a mean as an effective number of items (Kish 1965),
n^2 s^2 / sum_h n_h s_h^2: as many items without strata would have a mean as sure.

Each part is given the spread of one item more, s^2. A part of one item, whose s_h^2 cannot be known, is so like items
without strata, and few items in many parts (64 of MMLU) do not look surer than they are. Never fewer effective items
than items: strata can only take variance away.
"""

from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

from evaluation.statistics.clusters import numbered, sums

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


def effective_items(values: "NDArray[np.float64]", strata: Sequence[Hashable] | None) -> float:
    """How many items without strata would tell as much of the mean; `n` where nothing varies."""
    import numpy as np

    n = len(values)
    if strata is None or n < 2:
        return float(n)
    parts, count = numbered(strata, n)
    spread = float(values.var(ddof=1))
    if count == 1 or spread == 0:
        return float(n)
    sizes = np.bincount(parts, minlength=count)
    residual = values - (sums(values, parts, count) / sizes)[parts]
    squares = sums(residual**2, parts, count)
    several = sizes > 1
    inside = float((squares[several] * sizes[several] / (sizes[several] - 1)).sum())
    return n / min(1.0, (inside / spread + count) / n)

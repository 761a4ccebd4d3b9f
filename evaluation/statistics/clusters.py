"""Groups of items: clusters, which share a cause, and strata, the fixed parts of a benchmark, as MMLU's subjects are.

Throughout, `groups` is the number of each score's cluster, 0 to `count` - 1. Sources: `statistics`.
"""

import math
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike, NDArray

_RESAMPLES = 2000
_RESAMPLING_SEED = 0
"""Fixed: the same reports give the same bounds."""
_RESAMPLED_AT_ONCE = 1 << 22
"""Scores held at a time while resampling (32 MiB)."""


def checked(
    scores: "ArrayLike", clusters: Sequence[Hashable] | None
) -> tuple["NDArray[np.float64]", "NDArray[Any]", int]:
    """Scores as an array, the number of each one's cluster, and how many clusters there are.

    Raises ValueError for scores outside [0, 1], for none, and for another number of labels.
    """
    import numpy as np

    values = np.asarray(scores, dtype=np.float64)
    if not len(values):
        raise ValueError("no scores")
    if not ((values >= 0) & (values <= 1)).all():
        raise ValueError("scores lie outside [0, 1] or are not numbers")
    if clusters is None:
        return values, np.arange(len(values)), len(values)
    return values, *numbered(clusters, len(values))


def numbered(labels: Sequence[Hashable], n: int) -> tuple["NDArray[Any]", int]:
    """The number of each score's group by its label, and how many groups there are.

    Raises ValueError unless there is a label for each of `n` scores.
    """
    import numpy as np

    if len(labels) != n:
        raise ValueError(f"{n} scores in {len(labels)} labels of groups")
    numbers = {label: number for number, label in enumerate(dict.fromkeys(labels))}
    return np.array([numbers[label] for label in labels]), len(numbers)


def clustered_se(values: "NDArray[np.float64]", groups: "NDArray[Any]", count: int) -> float:
    """Standard error of the mean; 0 for a single cluster."""
    if count < 2:
        return 0.0
    residual = sums(values - values.mean(), groups, count)
    return float(math.sqrt((residual**2).sum() * count / (count - 1)) / len(values))


def unevenness(groups: "NDArray[Any]", count: int) -> tuple["NDArray[np.float64]", float]:
    """Factor of each cluster's sum of residuals (1 for clusters of one size), and degrees of freedom (0 for one)."""
    import numpy as np

    sizes = np.bincount(groups, minlength=count).astype(np.float64)
    n = sizes.sum()
    factors: NDArray[np.float64] = (count - 1) / count * n / np.maximum(n - sizes, 1e-9)
    return factors, max(1.0, float(n**2 / (sizes**2).sum()) - 1) if count > 1 else 0.0


def resampled(values: "NDArray[np.float64]", groups: "NDArray[Any]", count: int, alpha: float) -> tuple[float, float]:
    """Bounds of the mean at level 1 - alpha each, by resampling clusters (BCa); infinite inwards if degenerate."""
    import warnings

    import numpy as np
    from scipy.stats import DegenerateDataWarning, bootstrap

    totals, sizes = sums(values, groups, count), np.bincount(groups, minlength=count)

    def mean(totals: Any, sizes: Any, axis: int = -1) -> Any:
        return totals.sum(axis=axis) / sizes.sum(axis=axis)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DegenerateDataWarning)
        found = bootstrap(
            (totals, sizes),
            mean,
            paired=True,
            vectorized=True,
            n_resamples=_RESAMPLES,
            batch=max(1, _RESAMPLED_AT_ONCE // count),
            confidence_level=1 - 2 * alpha,
            method="BCa",
            rng=np.random.default_rng(_RESAMPLING_SEED),
        ).confidence_interval
    low, high = float(found.low), float(found.high)
    return (low if math.isfinite(low) else math.inf), (high if math.isfinite(high) else -math.inf)


def sums(values: "NDArray[np.float64]", groups: "NDArray[Any]", count: int) -> "NDArray[np.float64]":
    """Sum of the values of each cluster."""
    import numpy as np

    found: NDArray[np.float64] = np.bincount(groups, weights=values, minlength=count).astype(np.float64)
    return found


def effective_items(values: "NDArray[np.float64]", strata: Sequence[Hashable] | None) -> float:
    """How many items without strata would tell as much of the mean; `n` where nothing varies.

    All parts are there every time in the same shares n_h/n, so their number says nothing of how sure a mean is, however
    few they are: its variance is (1/n^2) sum_h n_h s_h^2 with s_h^2 of the items inside part h (Cochran 1977, Sampling
    Techniques, chapter 5). It reaches the interval of a mean as an effective number of items (Kish 1965),
    n^2 s^2 / sum_h n_h s_h^2: as many items without strata would have a mean as sure.

    Each part is given the spread of one item more, s^2. A part of one item, whose s_h^2 cannot be known, is so like
    items without strata, and few items in many parts (64 of MMLU) do not look surer than they are. Never fewer
    effective items than items: strata can only take variance away.
    """
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

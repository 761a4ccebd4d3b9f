"""What a win rate would be if answers were as long as the baseline's: length control after AlpacaEval 2.

Dubois, Galambosi, Liang and Hashimoto 2024 (arXiv 2404.04475) regress verdicts on the difference of lengths,
logit P(win) = θ + φ·tanh(Δ / sd(Δ)), and read the win rate off at Δ = 0. Their term for an instruction's difficulty is
left out here: it is estimated from many models' verdicts, and a report has one model's. Weak normal priors (θ: sd 10,
φ: sd 2.5, as Gelman et al. 2008 have it in spirit) keep the fit finite when one side always wins. A tie is half a win.

`at_equal_length`, σ(θ), is the published aggregate; its interval is by the delta method, with the larger of the robust
and the model's own standard error.

A gate pairs scores of items, and what a fit predicts for an item at equal length is no such score: all predictions hang
on the same two numbers, whose uncertainty their spread does not show. (In 600 simulated comparisons of two equally good
models of different length, a paired test of them passed one in 30 % of cases instead of 5 %.) So the metric is made of
random groups (Wolter 2007, Introduction to Variance Estimation, chapter 2): items are dealt into blocks by their hash,
each block is fitted alone, its items all have its σ(θ) as their score and the block as their cluster, and all are moved
alike so that their mean is the aggregate of the whole. Blocks are independent, they are the same in two reports over
the same items, and scores stay between 0 and 1. (The same simulation: `tests/evaluation/test_length_control.py`.)
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_PRIOR_SDS = (10.0, 2.5)
_FEWEST = 8
"""Items from which a slope is worth fitting."""

_BLOCK = 40
"""Items of a block: fewer make its fit lean towards a half, more leave too few blocks to see their spread."""

_MOST_BLOCKS = 20


@dataclass(frozen=True)
class Estimate:
    """A number with its two-sided 95 % interval."""

    value: float
    low: float
    high: float

    def to_json(self) -> dict[str, Any]:
        return {"value": round(self.value, 6), "ci95": [round(self.low, 6), round(self.high, 6)]}


@dataclass(frozen=True)
class LengthControl:
    """See the module. coefficient: φ, positive where longer answers win more; per sd of the difference, saturating."""

    at_equal_length: Estimate
    coefficient: Estimate


def control_length(scores: Sequence[float], differences: Sequence[float]) -> LengthControl | None:
    """scores: 1 win, 0.5 tie, 0 loss. differences: length of the answer less the baseline's, in characters.

    None where lengths cannot explain anything: too few items, or every difference the same.
    """
    import numpy as np
    from scipy.optimize import minimize
    from scipy.special import expit
    from scipy.stats import t

    y, gaps = np.asarray(scores, dtype=float), np.asarray(differences, dtype=float)
    if len(y) < _FEWEST or gaps.std() == 0:
        return None
    x = np.column_stack([np.ones(len(y)), np.tanh(gaps / gaps.std())])
    precision = np.diag([1 / sd**2 for sd in _PRIOR_SDS])

    def loss(b: "NDArray[np.float64]") -> tuple[float, "NDArray[np.float64]"]:
        z = x @ b
        fit = float((np.logaddexp(0, z) - y * z).sum() + b @ precision @ b / 2)
        return fit, x.T @ (expit(z) - y) + precision @ b

    b = minimize(loss, np.zeros(2), jac=True, method="BFGS").x
    p = expit(x @ b)
    bread = np.linalg.inv(x.T @ (x * (p * (1 - p))[:, None]) + precision)
    meat = x.T @ (x * ((y - p) ** 2)[:, None]) * len(y) / (len(y) - 2)
    errors = np.sqrt(np.maximum(np.diag(bread @ meat @ bread), np.diag(bread)))
    reach = float(t.ppf(0.975, len(y) - 2)) * errors
    level = float(expit(b[0]))
    return LengthControl(
        Estimate(level, float(expit(b[0] - reach[0])), float(expit(b[0] + reach[0]))),
        Estimate(float(b[1]), float(b[1] - reach[1]), float(b[1] + reach[1])),
    )


def blocks(hashes: Sequence[str]) -> list[int]:
    """The block of each item, by the order of their hashes: equal sizes, and the same whenever the items are."""
    count = max(1, min(_MOST_BLOCKS, len(hashes) // _BLOCK))
    rank = {item: place for place, item in enumerate(sorted(hashes))}
    return [rank[item] % count for item in hashes]


def values_by_block(
    members: Sequence[int], scores: Sequence[float], differences: Sequence[float], told: Sequence[bool]
) -> list[float]:
    """The score of each item: its block's win rate at equal length, moved as the module says.

    members: each item's block. told: whether its verdicts could be read; others take no part in a fit.
    """
    chosen = {
        block: [index for index, member in enumerate(members) if member == block and told[index]]
        for block in sorted(set(members))
    }
    levels = {block: _level(scores, differences, indices) for block, indices in chosen.items()}
    values = [levels[member] for member in members]
    whole = _level(scores, differences, [index for index, known in enumerate(told) if known])
    move = whole - sum(values) / len(values)
    return [min(1.0, max(0.0, value + move)) for value in values]


def _level(scores: Sequence[float], differences: Sequence[float], indices: Sequence[int]) -> float:
    """Win rate at equal length of some items; as judged where lengths explain nothing, a half where there are none."""
    some = [scores[index] for index in indices]
    found = control_length(some, [differences[index] for index in indices])
    if found is not None:
        return found.at_equal_length.value
    return sum(some) / len(some) if some else 0.5

"""Whether those who judged agree: of two answers to a prompt that several judged, which each holds better.

Krippendorff's alpha (K. Krippendorff, "Content Analysis", 2004, chapter 11; nominal) of all of them, and for each
Cohen's kappa (J. Cohen, "A Coefficient of Agreement for Nominal Scales", 1960) with what most of the others say. There
each of the others counts by their own kappa, so that one who always says the opposite does not lower that of the rest:
first all count the same, then nearer and nearer to what was found, until nothing changes (iterative weighted majority
voting, H. Li and B. Yu, arXiv 1411.4086, but each is left out of the majority that they are held against); where it
does not settle, as among people who say anything, all count the same. A judgement of two answers is one of: the first
is better, the second is, neither.
"""

import math
import statistics
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

_SIGNS = (-1, 0, 1)
_SHOWN = 20
_ROUNDS = 50
ENOUGH = 10
"""Pairs that an annotator has to have judged with others, for a kappa that says something."""


@dataclass
class Judgements:
    """Who holds which of two answers better: by pair of answers and annotator, -1, 0 or 1."""

    by_pair: dict[str, dict[str, int]] = field(default_factory=dict)

    def add(self, pair: str, annotator: str, sign: int) -> None:
        self.by_pair.setdefault(pair, {})[annotator] = sign

    @property
    def shared(self) -> list[dict[str, int]]:
        """Those of the pairs that more than one judged."""
        return [said for _, said in sorted(self.by_pair.items()) if len(said) > 1]


@dataclass(frozen=True)
class Annotator:
    """Of one: pairs of answers judged, those of them of which most of the others say one thing, and Cohen's kappa with
    that (None if there are none)."""

    judged: int
    shared: int
    kappa: float | None

    @property
    def weight(self) -> float | None:
        """What a judgement counts; None where too little is known."""
        return None if self.kappa is None or self.shared < ENOUGH else max(0.0, self.kappa)


@dataclass(frozen=True)
class Agreement:
    """Of all who judged by name. alpha: Krippendorff's; None where no pair was judged by two."""

    annotators: Mapping[str, Annotator]
    shared: int
    alpha: float | None

    @property
    def usual(self) -> float:
        """The mean weight of those with enough shared pairs; 1 where there are none. Whoever judged by no name, or
        too little with others, counts so much."""
        known = [one.weight for one in self.annotators.values() if one.weight is not None]
        return statistics.fmean(known) if known else 1.0

    def weight(self, annotator: str | None) -> float:
        """Never negative: who agrees with others no more than by chance counts nothing."""
        known = None if annotator is None else self.annotators[annotator].weight
        return self.usual if known is None else known

    @property
    def facts(self) -> dict[str, Any]:
        """For reports: of those who judged most with others, and of all."""
        most = sorted(self.annotators.items(), key=lambda one: (-one[1].shared, -one[1].judged, one[0]))
        told = {name: {**vars(one), "weight": self.weight(name)} for name, one in most[:_SHOWN]}
        return {"alpha": self.alpha, "shared": self.shared, "people": len(most), "annotators": told}


def agreement_of(judgements: Judgements) -> Agreement:
    """Does not depend on the order in which judgements were added."""
    shared = judgements.shared
    judged = Counter(name for said in judgements.by_pair.values() for name in said)
    weights: dict[str, float] = dict.fromkeys(judged, 1.0)
    first = found = _held_against_others(judged, shared, weights)
    for _ in range(_ROUNDS):
        own = {name: 1.0 if one.weight is None else one.weight for name, one in found.items()}
        weights = {name: (weights[name] + own[name]) / 2 for name in own}
        before, found = found, _held_against_others(judged, shared, weights)
        if found == before and all(math.isclose(weights[name], own[name], abs_tol=1e-3) for name in own):
            return Agreement(found, len(shared), _alpha(shared))
    return Agreement(first, len(shared), _alpha(shared))


def _held_against_others(
    judged: Mapping[str, int], shared: list[dict[str, int]], weights: Mapping[str, float]
) -> dict[str, Annotator]:
    tables: dict[str, Counter[tuple[int, int]]] = {name: Counter() for name in judged}
    for said in shared:
        for name, sign in said.items():
            if (most := _most({other: theirs for other, theirs in said.items() if other != name}, weights)) is not None:
                tables[name][sign, most] += 1
    return {
        name: Annotator(judged[name], table.total(), _kappa(table) if table else None) for name, table in tables.items()
    }


def _most(said: Mapping[str, int], weights: Mapping[str, float]) -> int | None:
    """What most say, by weight (by number, where all weigh nothing); None where as many say something else."""
    none = not any(weights[name] for name in said)
    votes = [math.fsum(none or weights[name] for name, theirs in said.items() if theirs == sign) for sign in _SIGNS]
    first, second = sorted(votes, reverse=True)[:2]
    return None if math.isclose(first, second, abs_tol=1e-9) else _SIGNS[votes.index(first)]


def _kappa(table: Mapping[tuple[int, int], int]) -> float:
    from statsmodels.stats.inter_rater import cohens_kappa

    if sum(times for (one, other), times in table.items() if one == other) == sum(table.values()):
        return 1.0  # also of two who always say the same one thing, of which kappa says nothing
    return float(
        cohens_kappa([[table.get((one, other), 0) for other in _SIGNS] for one in _SIGNS], return_results=False)
    )


def _alpha(shared: list[dict[str, int]]) -> float | None:
    import numpy as np
    from krippendorff import alpha

    if not shared:
        return None
    counts = np.array([[list(said.values()).count(sign) for sign in _SIGNS] for said in shared])
    if len(np.flatnonzero(counts.sum(axis=0))) == 1:
        return 1.0
    return float(alpha(value_counts=counts, level_of_measurement="nominal"))

"""A metric by subject, by kind of instruction, by category: where the difference between two checkpoints lies.

For reading, never for a verdict: with many groups some differ by chance. A difference is marked as beyond noise if it
stays so after Holm's correction over the groups of its metric, and as a hint if only its own 95 % interval says so.
"""

from dataclasses import dataclass
from typing import Literal

from evaluation.report import Report, Sample, groups_of
from evaluation.statistics.statistics import holm, p_value, paired_difference

_ALPHA = 0.05
_FEWEST = 2
"""Groups: one alone is the metric itself."""


@dataclass(frozen=True)
class Group:
    """Scores of one group; `gain` is turned so that positive is better, with its two-sided 95 % interval."""

    name: str
    n: int
    reference: float
    candidate: float
    gain: float
    low: float
    high: float
    mark: Literal["beyond noise", "hint", ""]


@dataclass(frozen=True)
class Grouped:
    """All groups of a metric, the worst change first."""

    metric: str
    groups: list[Group]

    @property
    def beyond_noise(self) -> int:
        return sum(group.mark == "beyond noise" for group in self.groups)

    @property
    def hints(self) -> int:
        return sum(group.mark == "hint" for group in self.groups)

    @property
    def by_chance(self) -> float:
        """Hints to be expected of two equally good checkpoints."""
        return _ALPHA * len(self.groups)


def by_group(candidate: Report, reference: Report, metrics: list[str]) -> list[Grouped]:
    """Every metric whose samples fall into several groups in both reports."""
    found = [Grouped(metric, _groups(candidate, reference, metric)) for metric in metrics]
    return [grouped for grouped in found if len(grouped.groups) >= _FEWEST]


def _groups(candidate: Report, reference: Report, metric: str) -> list[Group]:
    ours, theirs = _by_item(candidate, metric), _by_item(reference, metric)
    members: dict[str, list[str]] = {}
    for item, row in ours.items():
        if item in theirs and (name := row.get("subgroup")) is not None:
            members.setdefault(name, []).append(item)
    if not members:
        return []
    sign = 1 if candidate.results[metric]["higher_is_better"] else -1
    rows = []
    for name, items in members.items():
        x, y = ([side[item]["score"] for item in items] for side in (ours, theirs))
        clusters, _ = groups_of([ours[item] for item in items])
        better, worse = (x, y) if sign > 0 else (y, x)
        difference = paired_difference(better, worse, clusters, {*x, *y} <= {0.0, 1.0}, _ALPHA / 2)
        chance = p_value(difference, 0.0, _ALPHA / 2)
        rows.append((name, len(items), _mean(y), _mean(x), difference, min(1.0, 2 * min(chance, 1 - chance))))
    steps = holm([p for *_, p in rows], _ALPHA)
    groups = []
    for (name, n, before, after, difference, _), step in zip(rows, steps, strict=True):
        hint = difference.lower > 0 or difference.upper < 0
        mark: Literal["beyond noise", "hint", ""] = (
            "beyond noise" if hint and step.adjusted < _ALPHA else "hint" if hint else ""
        )
        groups.append(Group(name, n, before, after, difference.mean, difference.lower, difference.upper, mark))
    return sorted(groups, key=lambda group: (group.gain, group.name))


def _by_item(report: Report, metric: str) -> dict[str, Sample]:
    return {row["doc_hash"]: row for row in report.rows if f"{row['task']}/{row['metric']}" == metric}


def _mean(scores: list[float]) -> float:
    return sum(scores) / len(scores)

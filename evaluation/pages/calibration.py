"""Does a model know when it is right? Its confidence in the choices that it takes, against how often they are right.

For multiple choice that is right or wrong: a sample's `confidence` is the share of the choice taken in the softmax of
what the choices are ranked by (C. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, for the error and
the plot).
"""

from collections.abc import Mapping
from dataclasses import dataclass

from evaluation.report import Report

_BINS = 10


@dataclass(frozen=True)
class Bin:
    """Items of like confidence: mean confidence, share right."""

    n: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Bins of equal width that hold items, and their expected calibration error: mean |confidence - accuracy|."""

    n: int
    confidence: float
    accuracy: float
    error: float
    bins: list[Bin]


def calibrations(reports: Mapping[str, Report]) -> dict[str, dict[str, Calibration]]:
    """By metric and by name of the report, where samples hold a confidence."""
    metrics = dict.fromkeys(metric for report in reports.values() for metric in report.results)
    found = {metric: {name: _of(report, metric) for name, report in reports.items()} for metric in metrics}
    known = {metric: {name: c for name, c in by_name.items() if c is not None} for metric, by_name in found.items()}
    return {metric: by_name for metric, by_name in known.items() if by_name}


def _of(report: Report, metric: str) -> Calibration | None:
    pairs = [
        (confidence, row["score"])
        for row in report.rows
        if f"{row['task']}/{row['metric']}" == metric and (confidence := row.get("confidence")) is not None
    ]
    if not pairs or any(score not in (0.0, 1.0) for _, score in pairs):
        return None
    bins: dict[int, list[tuple[float, float]]] = {}
    for confidence, score in pairs:
        bins.setdefault(min(_BINS - 1, int(confidence * _BINS)), []).append((confidence, score))
    of_bins = [_bin(bins[place]) for place in sorted(bins)]
    whole = _bin(pairs)
    error = sum(b.n * abs(b.confidence - b.accuracy) for b in of_bins) / len(pairs)
    return Calibration(whole.n, whole.confidence, whole.accuracy, error, of_bins)


def _bin(pairs: list[tuple[float, float]]) -> Bin:
    n = len(pairs)
    return Bin(n, sum(confidence for confidence, _ in pairs) / n, sum(score for _, score in pairs) / n)

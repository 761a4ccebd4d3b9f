"""How long the rows of a mixture are: counts of each length, drawn as a few bars."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.tables.tables import batches_of

_BARS = 24
_STEPS = (1, 2, 5)


@dataclass(frozen=True)
class Bar:
    """Rows of `low` to `high` tokens, both included; `height` against the highest bar, 0 to 1."""

    low: int
    high: int
    rows: int
    height: float


@dataclass(frozen=True)
class Histogram:
    """One column of lengths: bars from the shortest to the longest, and a few quantiles."""

    bars: list[Bar]
    median: int
    p95: int
    longest: int
    mean: float


Lengths = Mapping[str, Histogram]


def lengths_of(rows: Path) -> Lengths:
    """Histograms of `n_tokens` and, where there is one, `n_supervised`. Memory: 8 bytes for each token of a row."""
    counts = _counted(rows)
    return {name: histogram(count) for name, count in counts.items() if count.sum()}


def histogram(counts: Any) -> Histogram:
    """counts: rows by length, from 0."""
    import numpy as np

    present = np.flatnonzero(counts)
    width = _width(int(present[-1] - present[0]) + 1)
    first = int(present[0]) // width * width
    rows = [int(counts[low : low + width].sum()) for low in range(first, int(present[-1]) + 1, width)]
    bars = [Bar(first + i * width, first + (i + 1) * width - 1, n, n / max(rows)) for i, n in enumerate(rows)]
    below = np.cumsum(counts)
    median, p95 = (int(np.searchsorted(below, share * below[-1])) for share in (0.5, 0.95))
    return Histogram(bars, median, p95, int(present[-1]), float((counts * np.arange(len(counts))).sum() / below[-1]))


def _width(span: int) -> int:
    """The least of 1, 2, 5, 10, 20, … that makes no more than two dozen bars."""
    scale = 1
    while True:
        for step in _STEPS:
            if step * scale * _BARS >= span:
                return step * scale
        scale *= 10


def _counted(rows: Path) -> dict[str, Any]:
    import numpy as np

    counts: dict[str, Any] = {}
    for name, values in _columns(rows):
        found = np.bincount(values)
        held = counts.get(name, np.zeros(0, np.int64))
        room = np.zeros(max(len(held), len(found)), np.int64)
        room[: len(held)] += held
        room[: len(found)] += found
        counts[name] = room
    return counts


def _columns(rows: Path) -> Iterator[tuple[str, Any]]:
    for batch in batches_of(rows):
        for name in ("n_tokens", "n_supervised"):
            if name in batch.schema.names:
                yield name, batch.column(name).to_numpy()

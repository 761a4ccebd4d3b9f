"""A row and an evaluation item, word by word: how much of the item stands in the row, and where.

Exact where `index` and `screen` estimate; run on the few rows that these let through.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from corpora.contamination.index import NGRAM, SEED, TELLING, gram_hashes, within
from corpora.contamination.words import SIGNS, Words

_DECIMALS = re.compile(r"[.,][0-9]")
_STRETCH = 2
"""Times the item's own length in which its words must stand: long rows hold many phrases far apart by chance."""


@dataclass(frozen=True)
class Overlap:
    """whole: all of the item stands in one message. verbatim, altered: shares, see `screen`. Masks over words."""

    whole: bool
    verbatim: float
    altered: float
    row_words: Any
    item_words: Any


def compare(parts: Sequence[str], row: Words, text: str, item: Words, template: Any, exact: bool) -> Overlap:
    """parts, text: of the row and the item, normalised. template: which of the item's words are no evidence."""
    return _whole(parts, row, text, item) if exact else _partial(row, item, template)


def _whole(parts: Sequence[str], row: Words, text: str, item: Words) -> Overlap:
    import numpy as np

    size = len(item.hashes)
    fits = within(row.part, size)
    begins = np.flatnonzero(fits & (row.hashes[: len(fits)] == item.hashes[0]))
    tail = text[int(item.end[-1]) :].lstrip()[:1]
    found = next((at for at in begins.tolist() if _stands(at, parts, row, item, tail)), None)
    row_words = np.zeros(len(row.hashes), np.bool_)
    if found is not None:
        row_words[found : found + size] = True
    there = found is not None
    return Overlap(there, float(there), float(there), row_words, np.full(size, there))


def _stands(at: int, parts: Sequence[str], row: Words, item: Words, tail: str) -> bool:
    """Whether the item stands at this word, and not in a longer sum: 7 + 5 is neither in 7 + 5 - 2 nor in 7 + 5.2.

    tail: what follows the item's own last word, an equals sign perhaps.
    """
    import numpy as np

    last = at + len(item.hashes) - 1
    if not np.array_equal(row.hashes[at : last + 1], item.hashes):
        return False
    part = parts[int(row.part[at])]
    before, after = part[: int(row.start[at])].rstrip()[-1:], part[int(row.end[last]) :]
    goes_on = after.lstrip()[:1]
    return before not in SIGNS and not _DECIMALS.match(after) and (goes_on not in SIGNS or goes_on == tail)


def _partial(row: Words, item: Words, template: Any) -> Overlap:
    import numpy as np

    size = len(item.hashes)
    at, place = _shared(row, item, template)
    at, place = _densest(at, place, _STRETCH * size)
    row_words, item_words = np.zeros(len(row.hashes), np.bool_), np.zeros(size, np.bool_)
    for step in range(SEED):
        row_words[at + step] = True
        item_words[place + step] = True
    shared = int((item_words & ~template).sum())
    if shared < TELLING:
        return Overlap(False, 0.0, 0.0, row_words, item_words)
    return Overlap(False, _verbatim(row, item, ~template), shared / int((~template).sum()), row_words, item_words)


def _verbatim(row: Words, item: Words, evidence: Any) -> float:
    """Share of the item's 13-grams, but for those that are all template, that stand in the row."""
    import numpy as np

    grams = gram_hashes(item.hashes, NGRAM)
    windows = np.lib.stride_tricks.sliding_window_view(evidence, NGRAM).any(axis=1)
    there = gram_hashes(row.hashes, NGRAM)[within(row.part, NGRAM)]
    return float(np.isin(grams[windows], there).mean()) if windows.any() else 0.0


def _shared(row: Words, item: Words, template: Any) -> tuple[Any, Any]:
    """Where phrases of the item with some evidence in them begin, in the row and in the item."""
    import numpy as np

    useful = np.flatnonzero(~np.lib.stride_tricks.sliding_window_view(template, SEED).all(axis=1))
    grams = gram_hashes(item.hashes, SEED)[useful]
    order = np.argsort(grams, kind="stable")
    inside = np.flatnonzero(within(row.part, SEED))
    there = gram_hashes(row.hashes, SEED)[inside]
    left = np.searchsorted(grams[order], there, "left")
    count = np.searchsorted(grams[order], there, "right") - left
    picked = np.repeat(left - np.cumsum(count) + count, count) + np.arange(count.sum())
    return np.repeat(inside, count), useful[order[picked]]


def _densest(at: Any, place: Any, stretch: int) -> tuple[Any, Any]:
    """The hits in the stretch of the row that has the most different phrases of the item."""
    import numpy as np

    if not at.size or at[-1] - at[0] < stretch:
        return at, place
    ends = np.searchsorted(at, at + stretch)
    best = max(range(len(at)), key=lambda i: len(np.unique(place[i : ends[i]])))
    return at[best : ends[best]], place[best : ends[best]]

"""Second pass: rows that are equal, and pairs of rows that may be near duplicates.

Rows meet where their keys are equal, or the hashes of one band; each is compared with a few rows before it there, so
that a bucket of a million rows costs a million comparisons, not half a billion. Chains hold a cluster together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.duplicates.sketch import Block
from lineage.files import atomically

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_REACH = 8
"""Rows before it in its bucket with which a row is compared."""
_HASHES_AT_A_TIME = 1 << 22

COPIES = "copies.npy"
"""Rows that equal one before them (int64), in order."""


@dataclass(frozen=True)
class Bands:
    """Some bands of all rows."""

    blocks: tuple[Block, ...]
    first: int
    last: int
    scratch: Path

    @property
    def pairs(self) -> Path:
        """Where the pairs go: uint64, the earlier row in the upper half, in order."""
        return self.scratch / f"{self.first:04d}.pairs.npy"


def bands_tasks(blocks: list[Block], bands: int, scratch: Path) -> list[Bands]:
    """All bands, as many in a task as make a few million hashes."""
    rows = sum(block.rows for block in blocks)
    each = max(1, min(bands, _HASHES_AT_A_TIME // rows))
    return [Bands(tuple(blocks), band, min(band + each, bands), scratch) for band in range(0, bands, each)]


def find_copies(blocks: list[Block]) -> "Array":
    """Rows that equal one before them, of whatever source, in order, each with the first of its kind (int64; n, 2)."""
    import numpy as np

    rows, keys = _equal(blocks, "whole", 0, 2)
    order = np.lexsort((rows, keys[:, 1], keys[:, 0]))
    rows, keys = rows[order], keys[order]
    begins = np.ones(len(rows), bool)
    begins[1:] = (keys[1:] != keys[:-1]).any(axis=1)
    first = rows[np.maximum.accumulate(np.where(begins, np.arange(len(rows)), 0))]
    found = np.stack([rows, first], axis=1)[~begins]
    ordered: Array = found[np.argsort(found[:, 0])]
    return ordered


def find_pairs(task: Bands) -> int:
    """Write the pairs of rows that share one of the bands; how many there are."""
    import numpy as np

    copies = np.load(task.scratch / COPIES)
    found = [np.zeros(0, np.uint64)]
    for band in range(task.first, task.last):
        rows, hashes = _equal(task.blocks, "bands", band, 1)
        if len(copies):
            at = np.minimum(np.searchsorted(copies, rows), len(copies) - 1)
            rows, hashes = rows[copies[at] != rows], hashes[copies[at] != rows]
        found.append(_pairs(hashes[:, 0], rows))
    together = distinct(np.concatenate(found))
    with atomically(task.pairs) as path, path.open("wb") as file:
        np.save(file, together)
    return len(together)


def _pairs(hashes: "Array", rows: "Array") -> "Array":
    """Pairs of rows with equal hashes, or nearly so: the place of a row takes the lowest bits of its hash.

    So one sort of numbers puts equal hashes side by side and their rows in order; `np.argsort` takes eight times
    as long. What meets by chance is verified like all others.
    """
    import numpy as np

    from corpora.duplicates import buckets

    bits = np.uint64(len(rows).bit_length())
    ordered = np.sort((hashes >> bits << bits) | np.arange(len(rows), dtype=np.uint64))
    places = (ordered & ((np.uint64(1) << bits) - np.uint64(1))).astype(np.int64)
    found: Array = buckets.pairs(ordered >> bits, rows[places], _REACH)
    return found


def distinct(pairs: "Array") -> "Array":
    """Pairs in order, each once. `np.unique` takes three times as long."""
    import numpy as np

    ordered = np.sort(pairs)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def _equal(blocks: "tuple[Block, ...] | list[Block]", name: str, band: int, width: int) -> tuple["Array", "Array"]:
    """Rows whose hash others may have too (int64), and their hashes (uint64; rows, width), in the order of rows."""
    import numpy as np

    from corpora.duplicates import buckets

    met, twice = buckets.tables_for(sum(block.rows for block in blocks))
    for _, hashes in _hashes(blocks, name, band, width):
        buckets.mark(np.ascontiguousarray(hashes[:, 0]), met, twice)
    rows, kept = [np.zeros(0, np.int64)], [np.zeros((0, width), np.uint64)]
    for block, hashes in _hashes(blocks, name, band, width):
        where = buckets.repeated(np.ascontiguousarray(hashes[:, 0]), twice)
        rows.append(where + block.first)
        kept.append(hashes[where])
    return np.concatenate(rows), np.concatenate(kept)


def _hashes(blocks: "tuple[Block, ...] | list[Block]", name: str, band: int, width: int) -> Iterator[Any]:
    import numpy as np

    for block in blocks:
        count = block.rows * width
        hashes = np.fromfile(block.file(name), np.uint64, count, offset=band * count * 8)
        yield block, hashes.reshape(block.rows, width)

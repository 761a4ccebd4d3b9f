"""Third pass: the exact Jaccard similarity of candidates, from their shingles.

The shingles lie on disk (`sketch`); those of candidates are read as they are needed and compared some thousand pairs
at a time, so that memory grows with neither texts nor pairs: 8 bytes a row, to find them, and what is compared.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.duplicates.candidates import distinct
from corpora.duplicates.clusters import forest
from corpora.duplicates.sketch import Block
from lineage.files import atomically

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

EDGES, NEAR, ALIKE = "edges.npy", "near.npy", "alike.npy"
"""Of a block: pairs that hold near duplicates together, all of them (uint64: two rows), and how alike these are."""

_PAIRS = 1 << 12
_BYTES = 16 << 20


@dataclass(frozen=True)
class Verifying:
    """Candidates, of the files `pairs`, whose earlier row is in `block`; the other may be in any of `blocks`."""

    block: Block
    pairs: tuple[Path, ...]
    blocks: tuple[Block, ...]


def verify(task: Verifying) -> int:
    """Write which pairs are near duplicates; how many were compared."""
    import numpy as np

    first = task.block.first
    low, high = np.uint64(first << 32), np.uint64((first + task.block.rows) << 32)
    slices = [np.zeros(0, np.uint64)]
    for path in task.pairs:
        pairs = np.load(path, mmap_mode="r")
        slices.append(np.asarray(pairs[np.searchsorted(pairs, low) : np.searchsorted(pairs, high)]))
    pairs = distinct(np.concatenate(slices))
    alike = _similarities(pairs, task.blocks)
    near = alike >= task.block.section.threshold
    for name, array in ((EDGES, forest(pairs[near])), (NEAR, pairs[near]), (ALIKE, alike[near])):
        with atomically(task.block.file(name)) as path, path.open("wb") as file:
            np.save(file, array)
    return len(pairs)


def similarities(pairs: "Array", blocks: Sequence[Block]) -> "Array":
    """How alike two rows are (float64) of each pair (uint64: two rows), as verified, or else compared now.

    Both rows must be candidates, and all blocks verified.
    """
    import numpy as np

    found = np.full(len(pairs), np.nan)
    for block in blocks:
        near, alike = np.load(block.file(NEAR)), np.load(block.file(ALIKE))
        if len(near):
            at = np.minimum(np.searchsorted(near, pairs), len(near) - 1)
            known = near[at] == pairs
            found[known] = alike[at[known]]
    unknown = np.isnan(found)
    found[unknown] = _similarities(pairs[unknown], blocks)
    return found


def _similarities(pairs: "Array", blocks: Sequence[Block]) -> "Array":
    import numpy as np

    if not len(pairs):
        return np.zeros(0)
    with _Records(blocks) as records:
        return np.concatenate([records.compared(some) for some in records.batches(pairs)])


class _Records:
    """The files of records, open."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        import numpy as np

        self._files = [os.open(block.file("records"), os.O_RDONLY) for block in blocks]
        self._first = np.array([block.first for block in blocks])
        self._offsets = np.zeros(sum(block.rows for block in blocks) + 1, np.int64)
        for block in blocks:
            lengths = np.fromfile(block.file("lengths"), np.int64)
            np.cumsum(lengths, out=self._offsets[block.first + 1 : block.first + block.rows + 1])
            self._offsets[block.first + 1 : block.first + block.rows + 1] += self._offsets[block.first]
        self._begins = self._offsets[self._first]

    def __enter__(self) -> "_Records":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            os.close(file)

    def batches(self, pairs: "Array") -> "list[Array]":
        """Pairs in runs of at most some thousand, and of about 16 MB of records."""
        import numpy as np

        one, other = (pairs >> np.uint64(32)).astype(np.int64), (pairs & np.uint64(0xFFFFFFFF)).astype(np.int64)
        sizes = self._offsets[one + 1] - self._offsets[one] + self._offsets[other + 1] - self._offsets[other]
        cost = np.cumsum(np.maximum(4 * sizes, _BYTES // _PAIRS)) // _BYTES
        return np.split(pairs, np.flatnonzero(np.diff(cost)) + 1)

    def compared(self, pairs: "Array") -> "Array":
        import numpy as np

        from corpora.duplicates import minhash

        both = np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)]).astype(np.int64)
        rows, where = np.unique(both, return_inverse=True)
        sizes = self._offsets[rows + 1] - self._offsets[rows]
        places = np.concatenate([[0], np.cumsum(sizes)])
        values = np.empty(places[-1], np.uint32)
        memory = memoryview(values.view(np.uint8).data)
        file = np.searchsorted(self._first, rows, side="right") - 1
        offsets = 4 * (self._offsets[rows] - self._begins[file])
        for number, offset, begin, end in zip(
            file.tolist(), offsets.tolist(), (4 * places[:-1]).tolist(), (4 * places[1:]).tolist(), strict=True
        ):
            os.preadv(self._files[number], (memory[begin:end],), offset)
        first, second = where.reshape(2, -1)
        found: Array = minhash.similarities(values, places[:-1], first, second)
        return found

"""Third pass: the exact Jaccard similarity of candidates, from their texts.

Rows with candidates are read and shingled again; their shingles lie in a file for each block, 8 bytes a shingle, and
pairs are compared some thousand at a time, so that memory grows with neither rows nor pairs.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.duplicates.sketch import Block, shingled
from corpora.tasks import atomically

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

CANDIDATES = "candidates.npy"
"""Whether each row has candidates (bool)."""

_PAIRS = 1 << 12
_MOST_PARTS = 3


@dataclass(frozen=True)
class Verifying:
    """Pairs whose earlier row is one of [first, last): those of the files `pairs`, in all blocks' shingles."""

    number: int
    first: int
    last: int
    pairs: tuple[Path, ...]
    blocks: tuple[Block, ...]
    scratch: Path

    @property
    def edges(self) -> Path:
        """Where pairs go that are near duplicates (uint64)."""
        return self.scratch / f"{self.number:06d}.edges.npy"


def keep_shingles(block: Block) -> int:
    """Write the shingle sets of the block's rows with candidates; how many rows there are.

    The index has a line a row (uint64): row, what near duplicates have in common, and where the sets of its parts
    begin and end in the file of shingles (the parts that it does not have are empty).
    """
    import numpy as np

    from corpora.duplicates import minhash

    wanted = np.load(block.scratch / CANDIDATES, mmap_mode="r")[block.first : block.first + block.rows]
    index = [np.zeros((0, _MOST_PARTS + 3), np.uint64)]
    written = 0
    with atomically(block.file("shingles")) as path, path.open("wb") as file:
        if wanted.any():
            for numbers, batch in shingled(block, np.asarray(wanted)):
                kept, begins = minhash.sets(batch.runs, batch.starts, batch.long)
                kept.tofile(file)
                ends = np.full((len(numbers), _MOST_PARTS + 1), written + len(kept), np.uint64)
                places = np.arange(len(numbers))[:, None] * batch.parts + np.arange(batch.parts + 1)
                ends[:, : batch.parts + 1] = begins[places] + written
                ends[:, batch.parts + 1 :] = ends[:, [batch.parts]]
                index.append(np.column_stack([numbers.astype(np.uint64), batch.common, ends]))
                written += len(kept)
    with atomically(block.file("index.npy")) as path, path.open("wb") as file:
        np.save(file, np.concatenate(index))
    return sum(map(len, index))


def verify(task: Verifying) -> int:
    """Write the pairs that are near duplicates, but for those that follow from others; how many pairs were compared."""
    import numpy as np

    from corpora.duplicates.clusters import forest

    low, high = (np.uint64(row << 32) for row in (task.first, task.last))
    slices = [np.zeros(0, np.uint64)]
    for path in task.pairs:
        pairs = np.load(path, mmap_mode="r")
        slices.append(np.asarray(pairs[np.searchsorted(pairs, low) : np.searchsorted(pairs, high)]))
    pairs = np.unique(np.concatenate(slices))
    threshold = task.blocks[0].section.threshold
    near = pairs[similarities(pairs, task.blocks) >= threshold]
    with atomically(task.edges) as path, path.open("wb") as file:
        np.save(file, forest(near))
    return len(pairs)


def similarities(pairs: "Array", blocks: Sequence[Block]) -> "Array":
    """Of each pair (uint64: two rows) how alike they are (float64). Both rows' shingles must have been kept."""
    import numpy as np

    with _Kept(blocks) as kept:
        found = [kept.compared(pairs[at : at + _PAIRS]) for at in range(0, len(pairs), _PAIRS)]
    return np.concatenate([np.zeros(0), *found])


class _Kept:
    """The files of shingles, open."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        import numpy as np

        self._files = [block.file("shingles").open("rb") for block in blocks]
        indexes = [np.load(block.file("index.npy")) for block in blocks]
        self._index = np.concatenate(indexes)
        self._file_of = np.repeat(np.arange(len(blocks)), [len(index) for index in indexes])

    def __enter__(self) -> "_Kept":
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files:
            file.close()

    def compared(self, pairs: "Array") -> "Array":
        import numpy as np

        from corpora.duplicates import minhash

        both = np.stack([pairs >> np.uint64(32), pairs & np.uint64(0xFFFFFFFF)])
        rows, where = np.unique(both, return_inverse=True)
        places = np.searchsorted(self._index[:, 0], rows)
        lines = self._index[places]
        ends = lines[:, 2:].astype(np.int64)
        sizes = ends[:, -1] - ends[:, 0]
        starts = np.concatenate([[0], np.cumsum(sizes)])
        values = np.empty(starts[-1], np.uint64)
        memory = memoryview(values).cast("B")
        for place, offset, start, size in zip(places, ends[:, 0], starts, sizes, strict=False):
            piece = memory[8 * start : 8 * (start + size)]
            os.preadv(self._files[self._file_of[place]].fileno(), [piece], int(8 * offset))
        begins = np.append((ends[:, :-1] - ends[:, :1] + starts[:-1, None]).ravel(), starts[-1])
        first, second = where.reshape(2, -1)
        return minhash.similarities(values, begins, lines[:, 1], _MOST_PARTS, first, second)


def verify_tasks(blocks: list[Block], pairs: Sequence[Path], scratch: Path) -> list[Verifying]:
    return [
        Verifying(block.number, block.first, block.first + block.rows, tuple(pairs), tuple(blocks), scratch)
        for block in blocks
    ]

"""Tokenised rows on disk, written once in order and read in any order, without any of them staying in memory.

A part is a file of rows, one behind the other: token ids (int32), one byte for each id that says whether the loss
counts it, then the rest of the row as JSON; and an index of where each begins. In memory a store costs 16 bytes a
row. Rows are read by position, not through a memory map: a map's pages would be counted as this process's memory,
and a random order touches them all. The files are scratch and never leave the machine (little-endian throughout).
"""

import os
from array import array
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from lineage.files import atomically

_ID, _MASK = "<i4", "u1"
_ID_BYTES = 4


class Batch(NamedTuple):
    """Rows read together: ids and mask as flat arrays, tokens and supervised tokens of each row, the rest of each."""

    ids: Any
    supervised: Any
    lengths: Any
    counted: Any
    rest: list[dict[str, Any]]


class RowStore:
    """Several parts as one list of rows, with the counts of each row as int32 arrays."""

    def __init__(self, parts: Sequence[Path]) -> None:
        import numpy as np

        rows = [len(np.load(_index(part))) for part in parts]
        self._parts, self._starts = list(parts), np.cumsum([0, *rows])
        self._ends = np.empty(self._starts[-1], np.int64)
        self.tokens, self.supervised = (np.empty(self._starts[-1], np.int32) for _ in range(2))
        for part, start, stop in zip(parts, self._starts, self._starts[1:], strict=False):
            index = np.load(_index(part))
            self._ends[start:stop] = index["end"]
            self.tokens[start:stop], self.supervised[start:stop] = index["tokens"], index["supervised"]

    def __len__(self) -> int:
        return len(self._ends)

    def read(self, rows: Any) -> Batch:
        """These rows (an int64 array of their numbers), in this order."""
        import numpy as np
        import orjson

        lengths = self.tokens[rows]
        found = self._bytes(rows)
        size = _ID_BYTES
        cuts = [(len(raw), int(n) * size) for raw, n in zip(found, lengths, strict=True)]
        masked = [raw[ids : ids + ids // size] for raw, (_, ids) in zip(found, cuts, strict=True)]
        return Batch(
            np.frombuffer(b"".join(raw[:ids] for raw, (_, ids) in zip(found, cuts, strict=True)), _ID),
            np.frombuffer(b"".join(masked), _MASK).astype(bool),
            lengths,
            self.supervised[rows],
            [orjson.loads(raw[ids + ids // size :]) for raw, (_, ids) in zip(found, cuts, strict=True)],
        )

    def _bytes(self, rows: Any) -> list[bytes]:
        """The raw rows, read in the order in which they lie on disk."""
        import numpy as np

        found = [b""] * len(rows)
        order = np.argsort(rows, kind="stable")
        of_part = np.searchsorted(self._starts, rows[order], side="right") - 1
        for part in np.unique(of_part):
            file = os.open(self._parts[part], os.O_RDONLY)
            try:
                for place in order[of_part == part]:
                    row = int(rows[place])
                    begin = 0 if row == self._starts[part] else int(self._ends[row - 1])
                    found[place] = os.pread(file, int(self._ends[row]) - begin, begin)
            finally:
                os.close(file)
        return found


class PartWriter:
    """Appends rows to one part. Use by `writing_part`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.ends = array("q")
        self.counts = array("i")

    def add(self, ids: Any, supervised: Any, rest: dict[str, Any]) -> None:
        """One row: token ids (int32), for each whether the loss counts it (bool), and what else it holds, as JSON."""
        import orjson

        self._file.write(ids.tobytes() + supervised.tobytes() + orjson.dumps(rest))
        self.ends.append(self._file.tell())
        self.counts.extend((len(ids), int(supervised.sum())))


@contextmanager
def writing_part(path: Path) -> Iterator[PartWriter]:
    """One part, that is whole when the block ends well, and not there when it does not."""
    import numpy as np

    with atomically(path) as temporary, temporary.open("wb") as file:
        writer = PartWriter(file)
        yield writer
    index = np.empty(len(writer.ends), [("end", "<i8"), ("tokens", "<i4"), ("supervised", "<i4")])
    index["end"] = writer.ends
    index["tokens"], index["supervised"] = np.array(writer.counts, "<i4").reshape(-1, 2).T
    with atomically(_index(path)) as temporary, temporary.open("wb") as file:
        np.save(file, index)


def _index(part: Path) -> Path:
    return part.with_suffix(".npy")

"""First pass: of every row its keys, the hashes of its bands, and its shingles, a block of rows at a time.

The texts are read once. What a block leaves on disk is 8 bytes a band and 52 more for each row, and 4 for each word;
the passes after this one read of it what they need.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from corpora.tables.tables import ROWS
from corpora.words.compared import KINDS, Kind
from corpora.words.words import Folded, folded_batches
from lineage.files import atomically
from recipes.cleaning import Duplicates

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

_BLOCK_ROWS = 1 << 15
_BLOCK_BYTES = 32 << 20
_THREADS = 2


class Span(NamedTuple):
    """Row groups of a clean corpus, whose first row has this number among all rows."""

    kind: str
    path: Path
    groups: tuple[int, ...]
    first: int


@dataclass(frozen=True)
class Block:
    """Rows that are worked on at a time, numbered from `first`; `scratch` is where the passes leave their files."""

    number: int
    first: int
    rows: int
    spans: tuple[Span, ...]
    section: Duplicates
    scratch: Path

    def file(self, name: str) -> Path:
        return self.scratch / f"{self.number:06d}.{name}"


@dataclass(frozen=True)
class Shingled:
    """A batch of rows: shingles part after part, and what near duplicates, and what equal rows, have in common."""

    parts: int
    runs: "Array"
    starts: "Array"
    long: "Array"
    common: "Array"
    whole: "Array"
    words: "Array"


def blocks(corpora: Iterable[tuple[str, Path]], section: Duplicates, scratch: Path) -> list[Block]:
    """All rows in blocks of about 32 MB or 32,768 rows, whichever is less: by the corpora alone, not the workers.

    corpora: kind and clean folder of each, in the order in which rows come first.
    """
    import pyarrow.parquet as pq

    found: list[Block] = []
    spans: list[Span] = []
    first = rows = size = 0

    def close() -> None:
        nonlocal first, rows, size
        if rows:
            found.append(Block(len(found), first, rows, tuple(spans), section, scratch))
            first, rows, size = first + rows, 0, 0
            spans.clear()

    for kind, folder in corpora:
        groups: list[int] = []
        start = first + rows
        metadata = pq.read_metadata(folder / ROWS)
        for group in range(metadata.num_row_groups):
            groups.append(group)
            rows += metadata.row_group(group).num_rows
            size += metadata.row_group(group).total_byte_size
            if rows >= _BLOCK_ROWS or size >= _BLOCK_BYTES:
                spans.append(Span(kind, folder / ROWS, tuple(groups), start))
                close()
                groups, start = [], first
        if groups:
            spans.append(Span(kind, folder / ROWS, tuple(groups), start))
    close()
    return found


def sketch(block: Block) -> int:
    """Write the block's files; how many rows there are.

    - bands (uint64; bands, rows): their hashes, 0 in rows that have no near duplicates;
    - whole (uint64; rows, 2): what equal rows have in common;
    - words (int64; rows);
    - records (uint32) and their lengths (int64; rows): what `verification` needs.
    """
    import numpy as np

    from corpora.duplicates import minhash

    bands, _ = minhash.bands_of(block.section.threshold, block.section.permutations)
    hashes = np.empty((bands, block.rows), np.uint64)
    arrays: dict[str, list[Array]] = {"whole": [], "words": [], "lengths": []}
    first = 0
    with atomically(block.file("records")) as path, path.open("wb") as file:
        for part in _sketched(block):
            hashes[:, first : first + len(part.lengths)] = part.hashes
            file.write(part.records.data)
            for name, held in arrays.items():
                held.append(getattr(part, name))
            first += len(part.lengths)
    for name, array in ("bands", hashes), *((n, np.concatenate(a)) for n, a in arrays.items()):
        with atomically(block.file(name)) as path:
            array.tofile(path)
    return block.rows


class _Part(NamedTuple):
    """What `sketch` writes, of some rows."""

    hashes: "Array"
    records: "Array"
    lengths: "Array"
    whole: "Array"
    words: "Array"


def _sketched(block: Block) -> Iterator[_Part]:
    """Batch after batch; row groups are worked on by two threads, since kernels and Arrow need no interpreter."""
    tasks = iter([(span, group) for span in block.spans for group in span.groups])
    with ThreadPoolExecutor(_THREADS) as pool:
        coming = deque(pool.submit(_of_group, block, *task) for task in islice(tasks, _THREADS + 1))
        while coming:
            parts = coming.popleft().result()
            coming.extend(pool.submit(_of_group, block, *task) for task in islice(tasks, 1))
            yield from parts


def _of_group(block: Block, span: Span, group: int) -> list[_Part]:
    return [
        _part(_shingled(KINDS[span.kind], b, block.section), block.section)
        for b in folded_batches(span.kind, span.path, group)
    ]


def _part(batch: Shingled, section: Duplicates) -> _Part:
    import numpy as np

    from corpora.duplicates import minhash

    bands, band_rows = minhash.bands_of(section.threshold, section.permutations)
    sizes = minhash.sizes_of(batch.long, batch.common, batch.parts, bands, band_rows)
    least = minhash.signatures(
        batch.runs, batch.starts, sizes, *minhash.permutations_of(section.permutations, section.seed)
    )
    hashes = np.empty((bands, len(batch.common)), np.uint64)
    minhash.band_hashes(least, sizes, batch.common, batch.parts, hashes)
    records, lengths = minhash.records(batch.runs, batch.starts, batch.long, batch.common, batch.parts)
    return _Part(hashes, records, lengths, batch.whole, batch.words)


def _shingled(kind: Kind, batch: Folded, section: Duplicates) -> Shingled:
    import numpy as np

    from corpora.duplicates import shingling

    texts = batch.texts
    found, begins, keys, numbers = shingling.words(*batch.folded, texts.roles[texts.order], texts.parts)
    runs, starts = shingling.shingles(found, begins, section.shingle)
    whole, common, long = shingling.row_keys(
        keys, numbers, starts, texts.fixed, kind.parts, section.min_shingles, kind.answer, kind.numbers
    )
    return Shingled(kind.parts, runs, starts, long, common, whole, np.diff(begins[:: kind.parts]))

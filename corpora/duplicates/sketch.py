"""First pass: of every row its keys, the hashes of its bands, and its shingles, a block of rows at a time.

The texts are read once. What a block leaves on disk is 8 bytes a band and 52 more for each row, and 4 for each word;
the passes after this one read of it what they need.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from corpora.duplicates.compared import KINDS, texts
from corpora.tables import ROWS
from corpora.tasks import atomically
from recipes.duplicates import Duplicates

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

_READ_ROWS = 2000
_READ_BYTES = 4 << 20
_BATCH_ROWS = 500
"""Rows worked on at a time: their words fit into a cache."""
_BLOCK_ROWS = 1 << 15
_BLOCK_BYTES = 32 << 20


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

    bands, band_rows = minhash.bands_of(block.section.threshold, block.section.permutations)
    permutations = minhash.permutations_of(block.section.permutations, block.section.seed)
    hashes: list[Array] = []
    arrays: dict[str, list[Array]] = {"whole": [], "words": [], "lengths": []}
    with atomically(block.file("records")) as path, path.open("wb") as file:
        for batch in _batches(block):
            sizes = minhash.sizes_of(batch.long, batch.common, batch.parts, bands, band_rows)
            least = minhash.signatures(batch.runs, batch.starts, sizes, *permutations)
            hashes.append(minhash.band_hashes(least, sizes, batch.common, batch.parts, bands))
            records, lengths = minhash.records(batch.runs, batch.starts, batch.long, batch.common, batch.parts)
            records.tofile(file)
            arrays["whole"].append(batch.whole)
            arrays["words"].append(batch.words)
            arrays["lengths"].append(lengths)
    for name, array in ("bands", np.concatenate(hashes, axis=1)), *((n, np.concatenate(a)) for n, a in arrays.items()):
        with atomically(block.file(name)) as path:
            array.tofile(path)
    return block.rows


def _batches(block: Block) -> Iterator[Shingled]:
    for span in block.spans:
        for read in _ahead(_read(span)):
            for first in range(0, read.num_rows, _BATCH_ROWS):
                yield _shingled(span.kind, read.slice(first, _BATCH_ROWS), block.section)


def _read(span: Span) -> "Iterator[pa.RecordBatch]":
    import pyarrow.parquet as pq

    with pq.ParquetFile(span.path) as file:
        groups = [file.metadata.row_group(group) for group in span.groups]
        row_bytes = sum(group.total_byte_size for group in groups) / sum(group.num_rows for group in groups)
        rows = int(min(_READ_ROWS, max(1, _READ_BYTES // row_bytes)))
        columns = [name for name in KINDS[span.kind].columns if name in file.schema_arrow.names]
        yield from file.iter_batches(rows, row_groups=list(span.groups), columns=columns, use_threads=False)


def _ahead(batches: "Iterator[pa.RecordBatch]") -> "Iterator[pa.RecordBatch]":
    """The same, read and unpacked in a thread while the one before is worked on: a fifth of the time."""
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = reader.submit(next, batches, None)
            yield batch


def _shingled(kind: str, batch: "pa.RecordBatch", section: Duplicates) -> Shingled:
    import numpy as np

    from corpora.duplicates import folding, folding_kernels, shingling

    compared, rules, table = texts(kind, batch), KINDS[kind], folding.table()
    data, offsets = _buffers(compared.strings)
    if (hard := folding_kernels.hard(data, offsets, table)).any():
        data, offsets = _buffers(_folded(compared.strings, hard))
    folded = folding_kernels.fold(data, offsets, compared.order, table)
    found, begins, keys, numbers = shingling.words(*folded, compared.roles[compared.order], compared.parts)
    runs, starts = shingling.shingles(found, begins, section.shingle)
    whole, common, long = shingling.row_keys(
        keys, numbers, starts, compared.fixed, rules.parts, section.min_shingles, rules.answer, rules.numbers
    )
    return Shingled(rules.parts, runs, starts, long, common, whole, np.diff(begins[:: rules.parts]))


def _folded(strings: "pa.Array", hard: "Array") -> "pa.Array":
    """The texts with those that are marked folded by the rule itself."""
    import pyarrow as pa
    import pyarrow.compute as pc

    from corpora.duplicates.folding import fold

    mask = pa.array(hard)
    folded = pa.array([fold(text) for text in strings.filter(mask).to_pylist()], pa.string())
    return pc.replace_with_mask(strings, mask, folded)


def _buffers(strings: "pa.Array") -> tuple["Array", "Array"]:
    """Bytes (uint8) and offsets (int32) of an array of strings; a null is an empty one."""
    import numpy as np

    if not len(strings):
        return np.zeros(0, np.uint8), np.zeros(1, np.int32)
    _, offsets, data = strings.buffers()
    begins = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), begins

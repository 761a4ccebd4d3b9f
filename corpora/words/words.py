"""The compared texts of a corpus, read and folded a few hundred rows at a time."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.words.compared import KINDS, Texts, texts

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

_READ_ROWS = 2000
_READ_BYTES = 4 << 20
_BATCH_ROWS = 500
"""Rows worked on at a time: their words fit into a cache."""


@dataclass(frozen=True)
class Folded:
    """A batch of rows: what is compared of them, and what `kernels.fold` makes of the texts."""

    texts: Texts
    folded: tuple["Array", "Array", "Array", "Array"]


def folded_batches(kind: str, path: Path, group: int) -> Iterator[Folded]:
    """A row group of a table of rows of this kind."""
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        held = file.metadata.row_group(group)
        rows = int(min(_READ_ROWS, max(1, _READ_BYTES * held.num_rows // max(1, held.total_byte_size))))
        columns = [name for name in KINDS[kind].columns if name in file.schema_arrow.names]
        for read in file.iter_batches(rows, row_groups=[group], columns=columns, use_threads=False):
            for first in range(0, read.num_rows, _BATCH_ROWS):
                yield _folded(kind, read.slice(first, _BATCH_ROWS))


def _folded(kind: str, batch: "pa.RecordBatch") -> Folded:
    from corpora.words import kernels, scripts

    compared = texts(kind, batch)
    data, offsets = buffers(compared.strings)
    return Folded(compared, kernels.fold(data, offsets, compared.order, scripts.table()))


def buffers(strings: "pa.Array") -> tuple["Array", "Array"]:
    """Bytes (uint8) and offsets (int32) of strings, after the rule itself has folded those that need it."""
    from corpora.words import kernels, scripts

    data, offsets = _buffers(strings)
    if (hard := kernels.hard(data, offsets, scripts.table())).any():
        return _buffers(_by_rule(strings, hard))
    return data, offsets


def _by_rule(strings: "pa.Array", hard: "Array") -> "pa.Array":
    import pyarrow as pa
    import pyarrow.compute as pc

    from corpora.words.scripts import fold

    mask = pa.array(hard)
    folded = pa.array([fold(text) for text in strings.filter(mask).to_pylist()], pa.string())
    return pc.replace_with_mask(strings, mask, folded)


def _buffers(strings: "pa.Array") -> tuple["Array", "Array"]:
    import numpy as np

    if not len(strings):
        return np.zeros(0, np.uint8), np.zeros(1, np.int32)
    _, offsets, data = strings.buffers()
    begins = np.frombuffer(offsets, np.int32)[strings.offset : strings.offset + len(strings) + 1]
    return np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8), begins

"""Rows of a mixture, from their stores into parquet: conversations one a row, documents packed into sequences.

Works on a row group at a time and holds no more than that. Which rows come in which order is decided elsewhere.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from corpora.mixing.packing import Document, Packer, packed_schema
from corpora.mixing.row_store import Batch
from corpora.mixing.scheduler import Picks
from corpora.mixing.splits import Side
from corpora.mixing.token_index import TokenIndex
from corpora.progress import progress
from corpora.shards import sharding
from corpora.tables import index_schema, mixture_schema

_GROUP_ROWS = 2000
_GROUP_TOKENS = 1 << 20
"""Of packed sequences, in one row group."""

_OF_TOKENS = ("input_ids", "supervised", "n_tokens", "n_supervised")


@dataclass
class Written:
    """What was written, by source, and how many rows the table has."""

    rows: int = 0
    given: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    supervised: Counter[str] = field(default_factory=Counter)

    def count(self, source: str, batch: Batch) -> None:
        self.given[source] += len(batch.lengths)
        self.tokens[source] += int(batch.lengths.sum())
        self.supervised[source] += int(batch.counted.sum())

    def units(self, unit: str) -> dict[str, int]:
        """Units by source: supervised tokens, tokens, or rows (conversations or documents)."""
        return dict({"supervised_tokens": self.supervised, "tokens": self.tokens, "rows": self.given}[unit])


def write_rows(
    path: Path, blocks: Iterator[Picks], total: int, indexes: Sequence[TokenIndex], side: Side, length: int | None
) -> Written:
    """Write the picked rows of one side into the table `path`.

    blocks: of picks whose members are numbered as `indexes`; `total` picks in all. length: tokens of a packed
    sequence, None for one conversation a row.
    """
    written = Written()
    label = f"write {path.name}"
    tables = _conversations if length is None else _sequences
    schema = mixture_schema() if length is None else packed_schema()
    with sharding(path, schema) as shards, progress(label, total, "rows") as advance:

        def read() -> Iterator[tuple[Picks, list[tuple[Any, Batch]]]]:
            for picks in blocks:
                for start in range(0, len(picks.row), _GROUP_ROWS):
                    part = Picks(*(column[start : start + _GROUP_ROWS] for column in picks))
                    yield part, _read(part, indexes, side, written)
                    advance(len(part.row))

        for table in tables(read(), indexes, length or 0):
            shards.write(table)
            written.rows += table.num_rows
    return written


def _read(picks: Picks, indexes: Sequence[TokenIndex], side: Side, written: Written) -> list[tuple[Any, Batch]]:
    """For each source that was picked: the places of its rows among the picks, and the rows."""
    import numpy as np

    found = []
    for number, index in enumerate(indexes):
        where = np.flatnonzero(picks.member == number)
        if where.size:
            batch = index.sides[side].read(picks.row[where])
            written.count(index.source, batch)
            found.append((where, batch))
    return found


def _conversations(
    read: Iterator[tuple[Picks, list[tuple[Any, Batch]]]], indexes: Sequence[TokenIndex], _length: int
) -> Iterator[Any]:
    import numpy as np
    import pyarrow as pa

    schema, rest = mixture_schema(), pa.schema([f for f in index_schema() if f.name not in _OF_TOKENS])
    for picks, batches in read:
        parts = []
        for where, batch in batches:
            index = indexes[picks.member[where[0]]]
            offsets = pa.array(np.concatenate([[0], np.cumsum(batch.lengths)]), pa.int32())
            part = pa.Table.from_pylist(batch.rest, schema=rest)
            columns = {
                "input_ids": pa.ListArray.from_arrays(offsets, pa.array(batch.ids)),
                "supervised": pa.ListArray.from_arrays(offsets, pa.array(batch.supervised)),
                "n_tokens": pa.array(batch.lengths),
                "n_supervised": pa.array(batch.counted),
                "epoch": pa.array(picks.epoch[where]),
                **{
                    name: pa.array([value] * len(where))
                    for name, value in (
                        ("source", index.source),
                        ("group", index.group),
                        ("sensitive", index.sensitive),
                    )
                },
            }
            for name, column in columns.items():
                part = part.append_column(name, column)
            parts.append(part.select(schema.names).cast(schema))
        order = np.argsort(np.concatenate([where for where, _ in batches]))
        yield pa.concat_tables(parts).take(pa.array(order)).combine_chunks()


def _sequences(
    read: Iterator[tuple[Picks, list[tuple[Any, Batch]]]], indexes: Sequence[TokenIndex], length: int
) -> Iterator[Any]:
    import pyarrow as pa

    packer, waiting = Packer(length), []
    group_rows = max(1, min(_GROUP_ROWS, _GROUP_TOKENS // length))
    for picks, batches in read:
        ids, lengths, documents = _in_order(picks, batches, indexes)
        for sequence in packer.add(ids, lengths, documents):
            waiting.append(sequence)
            if len(waiting) == group_rows:
                yield pa.Table.from_pylist(waiting, schema=packed_schema())
                waiting = []
    if last := [*waiting, *packer.rest()]:
        yield pa.Table.from_pylist(last, schema=packed_schema())


def _in_order(
    picks: Picks, batches: list[tuple[Any, Batch]], indexes: Sequence[TokenIndex]
) -> tuple[Any, Any, list[Document]]:
    """Ids, lengths and names of the picked documents in the order of the picks."""
    import numpy as np

    ids: list[Any] = [None] * len(picks.row)
    documents: list[Any] = [None] * len(picks.row)
    for where, batch in batches:
        index = indexes[picks.member[where[0]]]
        each = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
        for place, own, rest in zip(where, each, batch.rest, strict=True):
            ids[place] = own
            epoch = int(picks.epoch[place])
            documents[place] = Document(rest["id"], index.source, index.group, epoch, index.sensitive)
    return np.concatenate(ids), np.array([len(own) for own in ids]), documents

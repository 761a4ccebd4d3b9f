"""Rows of a mixture, from their stores into parquet: conversations one a row, documents packed into sequences.

Works on a portion of the rows at a time, at most 2,000 of them or four million tokens, and holds no more than that.
Which rows come in which order is decided elsewhere.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from corpora.mixing.packing import Document, Packer, packed_schema
from corpora.mixing.scheduler import Picks
from corpora.mixing.token_index import TokenIndex
from corpora.splits import Side
from corpora.tables.row_store import Batch
from corpora.tables.shards import sharding
from corpora.tables.tables import batch_of, index_schema, mixture_schema
from corpora.work.progress import progress

_ROWS = 2000
_TOKENS = 1 << 22
"""Of one portion, and of one row group of packed sequences."""

_OF_TOKENS = ("input_ids", "supervised", "n_tokens", "n_supervised")


@dataclass
class Written:
    """What was written: rows of the table; rows (conversations or documents) and tokens given by each source."""

    rows: int = 0
    given: Counter[str] = field(default_factory=Counter)
    tokens: Counter[str] = field(default_factory=Counter)
    supervised: Counter[str] = field(default_factory=Counter)

    def count(self, source: str, batch: Batch) -> None:
        self.given[source] += len(batch.lengths)
        self.tokens[source] += int(batch.lengths.sum())
        self.supervised[source] += int(batch.counted.sum())

    def units(self, unit: str) -> dict[str, int]:
        """Units by source: supervised tokens, tokens or rows."""
        return dict({"supervised_tokens": self.supervised, "tokens": self.tokens, "rows": self.given}[unit])


class _Part(NamedTuple):
    """The rows of one source in a portion: their places in it, their passes, the rows."""

    source: TokenIndex
    places: Any
    epochs: Any
    batch: Batch


_Portion = list[_Part]


def write_rows(
    path: Path, blocks: Iterator[Picks], total: int, indexes: Sequence[TokenIndex], side: Side, length: int | None
) -> Written:
    """Write the picked rows of one side into the table `path`.

    blocks: of picks whose members are numbered as `indexes`; `total` picks in all. length: tokens of a packed
    sequence, None for one conversation a row.
    """
    written = Written()
    with (
        sharding(path, mixture_schema() if length is None else packed_schema()) as shards,
        progress(f"write {path.stem}", total, "rows") as advance,
    ):
        read = _portions(blocks, indexes, side, written, advance)
        for table in map(_conversations, read) if length is None else _sequences(read, length):
            shards.write(table)
            written.rows += table.num_rows
    return written


def _portions(
    blocks: Iterator[Picks],
    indexes: Sequence[TokenIndex],
    side: Side,
    written: Written,
    advance: Callable[[int], None],
) -> Iterator[_Portion]:
    """Read what was picked, in portions, and count it."""
    import numpy as np

    for picks in blocks:
        lengths = np.empty(len(picks.row), np.int64)
        for number, index in enumerate(indexes):
            where = picks.member == number
            lengths[where] = index.sides[side].tokens[picks.row[where]]
        for start, stop in _cuts(lengths):
            portion = []
            for number, index in enumerate(indexes):
                places = np.flatnonzero(picks.member[start:stop] == number)
                if places.size:
                    batch = index.sides[side].read(picks.row[start:stop][places])
                    portion.append(_Part(index, places, picks.epoch[start:stop][places], batch))
                    written.count(index.source, batch)
            yield portion
            advance(stop - start)


def _cuts(lengths: Any) -> Iterator[tuple[int, int]]:
    """Where portions of rows of these lengths (tokens) begin and end; a longer row is one by itself."""
    import numpy as np

    upto = np.cumsum(lengths)
    start = 0
    while start < len(lengths):
        before = int(upto[start - 1]) if start else 0
        fitting = int(np.searchsorted(upto, before + _TOKENS, side="right"))
        stop = min(start + _ROWS, max(start + 1, fitting))
        yield start, stop
        start = stop


def _conversations(portion: _Portion) -> Any:
    """The rows as a table, in the order of the picks."""
    import numpy as np
    import pyarrow as pa

    schema, rest = mixture_schema(), pa.schema([f for f in index_schema() if f.name not in _OF_TOKENS])
    parts = []
    for source, _, epochs, batch in portion:
        offsets = pa.array(np.concatenate([[0], np.cumsum(batch.lengths)]), pa.int32())
        read = batch_of([tuple(map(row.get, rest.names)) for row in batch.rest], rest)
        columns = {
            **{name: read.column(name) for name in rest.names},
            "input_ids": pa.ListArray.from_arrays(offsets, pa.array(batch.ids)),
            "supervised": pa.ListArray.from_arrays(offsets, pa.array(batch.supervised)),
            "n_tokens": pa.array(batch.lengths),
            "n_supervised": pa.array(batch.counted),
            "source": pa.repeat(source.source, len(epochs)),
            "group": pa.repeat(source.group, len(epochs)),
            "epoch": pa.array(epochs),
            "sensitive": pa.repeat(source.sensitive, len(epochs)),
        }
        parts.append(pa.table({name: columns[name] for name in schema.names}, schema=schema))
    order = np.argsort(np.concatenate([part.places for part in portion]))
    return pa.concat_tables(parts).take(pa.array(order)).combine_chunks()


def _sequences(portions: Iterator[_Portion], length: int) -> Iterator[Any]:
    """The documents of all portions, packed, in tables of one row group."""
    import pyarrow as pa

    packer, waiting = Packer(length), []
    group_rows = max(1, min(_ROWS, _TOKENS // length))
    for portion in portions:
        for sequence in packer.add(*_in_order(portion)):
            waiting.append(sequence)
            if len(waiting) == group_rows:
                yield pa.Table.from_pylist(waiting, schema=packed_schema())
                waiting = []
    if last := [*waiting, *packer.rest()]:
        yield pa.Table.from_pylist(last, schema=packed_schema())


def _in_order(portion: _Portion) -> tuple[Any, Any, list[Document]]:
    """Ids, lengths and names of the documents in the order of the picks."""
    import numpy as np

    rows = sum(len(part.places) for part in portion)
    ids: list[Any] = [None] * rows
    documents: list[Any] = [None] * rows
    for source, places, epochs, batch in portion:
        each = np.split(batch.ids, np.cumsum(batch.lengths)[:-1])
        for place, epoch, own, rest in zip(places, epochs, each, batch.rest, strict=True):
            ids[place] = own
            documents[place] = Document(rest["id"], source.source, source.group, int(epoch), source.sensitive)
    return np.concatenate(ids), np.array([len(own) for own in ids]), documents

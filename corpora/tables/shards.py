"""A table in several files: written a row group at a time, and there as a whole or not at all.

What is in the tables is said in `tables`; a reader asks `shards_of` for the files of a table by the name that it
would have in one.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lineage.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa

_GROUPS_A_SHARD = 32


class Shards:
    """A table being written in files of at most 32 row groups each, which get their names when all are complete.

    One file is called as the table is, `rows.parquet`; of several each says its place, `rows-00000-of-00007.parquet`.
    """

    def __init__(self, path: Path, schema: "pa.Schema") -> None:
        self._path, self._schema = path, schema
        self._written: list[Path] = []
        self._writer: Any = None
        self._groups = 0

    def write(self, table: "pa.Table") -> None:
        """Append one row group."""
        import pyarrow.parquet as pq

        if self._writer is None or self._groups == _GROUPS_A_SHARD:
            self.close()
            self._written.append(self._path.with_name(f".{self._path.stem}-{len(self._written):05d}.tmp"))
            self._writer, self._groups = pq.ParquetWriter(self._written[-1], self._schema, compression="zstd"), 0
        self._writer.write_table(table)
        self._groups += 1

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def name(self) -> list[Path]:
        """Give the files their names; returns them."""
        if not self._written:
            self.write(self._schema.empty_table())
        self.close()
        names = [self._path] if len(self._written) == 1 else _shard_names(self._path, len(self._written))
        for temporary, path in zip(self._written, names, strict=True):
            temporary.replace(path)
        return names


@contextmanager
def sharding(path: Path, schema: "pa.Schema") -> Iterator[Shards]:
    """A table in shards, there as a whole when the block ends well and not at all when it does not."""
    shards = Shards(path, schema)
    try:
        yield shards
        shards.name()
    finally:
        shards.close()
        for temporary in path.parent.glob(f".{path.stem}-*.tmp"):
            temporary.unlink()


def shards_of(path: Path) -> list[Path]:
    """The files of a table, in order: `path`, or its shards. Raises CorpusError if one of them is missing."""
    if path.is_file():
        return [path]
    found = sorted(path.parent.glob(f"{path.stem}-*-of-*.parquet"))
    if not found:
        raise CorpusError(f"{path}: no such table, in one file or in shards")
    names = _shard_names(path, int(found[0].stem.rpartition("-")[2]))
    if found != names:
        raise CorpusError(f"{path}: its shards are not {names[0].name} to {names[-1].name}, one each")
    return found


def _shard_names(path: Path, count: int) -> list[Path]:
    return [path.with_name(f"{path.stem}-{number:05d}-of-{count:05d}{path.suffix}") for number in range(count)]

"""Arrow streams of a block on disk: written a batch of rows at a time, read a batch at a time."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corpora.tables.tables import batch_of

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH_ROWS = 2000
_BATCH_BYTES = 4 << 20

Values = tuple[Any, ...]
"""A row in the order of its schema."""


class Stream:
    """A stream being written, in batches of 2,000 rows, or fewer if these hold 4 MiB.

    finish: what is done to a batch of rows before it is written, if anything.
    """

    def __init__(
        self, path: Path, schema: "pa.Schema", finish: Callable[[list[Values]], list[Values]] | None = None
    ) -> None:
        import pyarrow as pa

        self._schema = schema
        self._writer = pa.ipc.new_stream(str(path), schema, options=pa.ipc.IpcWriteOptions(compression="lz4"))
        self._finish = finish
        self._waiting: list[Values] = []
        self._bytes = 0

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self._flush()
        self._writer.close()

    def add(self, row: Values, size: int = 0) -> None:
        """size: about how many bytes the row holds."""
        self._waiting.append(row)
        self._bytes += size
        if len(self._waiting) == _BATCH_ROWS or self._bytes >= _BATCH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._waiting:
            rows = self._finish(self._waiting) if self._finish is not None else self._waiting
            self._writer.write_batch(batch_of(rows, self._schema))
            self._waiting, self._bytes = [], 0


def batches(path: Path) -> "Iterator[pa.RecordBatch]":
    """Every batch of a stream, one in memory at a time."""
    import pyarrow as pa

    with pa.OSFile(str(path)) as file, pa.ipc.open_stream(file) as stream:
        yield from stream

"""Rows of tables that are not text: a parquet or Arrow file, or a dataset that is streamed from where it lies.

Such rows have a number instead of a line and no byte offset; their raw bytes are the row as JSON, in which bytes
that are no text are written in base64 and times in ISO 8601. What cannot be read of a file is one bad row with the
file's own bytes.
"""

import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from corpora.reading.row import Element, in_parts
from corpora.sources.arrow_values import plain, said
from corpora.sources.hub import stream
from corpora.sources.raw import RawFile
from lineage.errors import CorpusError

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 1000
_UNREADABLE = (ValueError, OverflowError, LookupError)
"""What pyarrow raises for text that is none (a ValueError), times beyond Python's years, and unknown zones."""


def parquet_rows(file: RawFile) -> Iterator[Element]:
    """Every row in order, a batch in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path) as table:
            _must_differ(table.schema_arrow.names, file)
            first = 1
            for index in range(table.num_row_groups):
                group, number = table.metadata.row_group(index), first
                try:
                    for batch in table.iter_batches(batch_size=_BATCH, row_groups=[index]):
                        yield from _rows(batch, number)
                        number += batch.num_rows
                except (pa.ArrowException, OSError):
                    left = first + group.num_rows - number
                    what = f"a damaged row group: its rows from here on, {left:,} of them"
                    yield from _broken(file, number, what, left, *_bytes_of(group))
                first += group.num_rows
    except (pa.ArrowException, OSError):
        yield from _broken(file, 1, "not a parquet file: all of its bytes", math.inf, 0, file.path.stat().st_size)


def arrow_rows(file: RawFile) -> Iterator[Element]:
    """Every row of an Arrow file, or of Arrow's stream, which `datasets` writes under the same name."""
    import pyarrow as pa

    number = 1
    with pa.memory_map(str(file.path)) as mapped:
        try:
            for batch in _batches(mapped):
                _must_differ(batch.schema.names, file)
                _must_be_sound(batch)
                for start in range(0, batch.num_rows, _BATCH):
                    yield from _rows(batch.slice(start, _BATCH), number + start)
                number += batch.num_rows
        except (pa.ArrowException, OSError):
            what = "not an Arrow file from here on: all of its bytes"
            yield from _broken(file, number, what, math.inf, 0, mapped.size())


def _must_differ(names: list[str], file: RawFile) -> None:
    """Raises CorpusError for two columns of one name, of which a row can hold but one."""
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise CorpusError(f"{file.name}: two columns named '{twice}'; rename one")


def _must_be_sound(batch: "pa.RecordBatch") -> None:
    """Raises ArrowException for a batch whose lengths lead out of its bytes, which would end the process when read.

    Text that is no UTF-8 is left to the rows.
    """
    import pyarrow as pa

    try:
        batch.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):
            raise


def _batches(mapped: "pa.MemoryMappedFile") -> Iterator["pa.RecordBatch"]:
    import pyarrow as pa

    if mapped.read(6) == b"ARROW1":
        with pa.ipc.open_file(mapped) as file:
            yield from (file.get_batch(index) for index in range(file.num_record_batches))
    else:
        mapped.seek(0)
        with pa.ipc.open_stream(mapped) as stream:
            yield from stream


def streamed_rows(file: RawFile) -> Iterator[Element]:
    """Every row of a streamed dataset in order. Raises CorpusError if it cannot be reached."""
    for number, row in enumerate(stream(file.path), start=1):
        yield _element(row, number)


def _rows(batch: "pa.RecordBatch", number: int) -> Iterator[Element]:
    try:
        rows = batch.to_pylist()
    except _UNREADABLE:
        for index in range(batch.num_rows):
            yield _row_by_itself(batch.slice(index, 1), number + index)
        return
    for index, row in enumerate(rows):
        yield _element(row, number + index)


def _row_by_itself(row: "pa.RecordBatch", number: int) -> Element:
    try:
        return _element(row.to_pylist()[0], number)
    except _UNREADABLE as error:
        problem = "not UTF-8" if isinstance(error, UnicodeDecodeError) else "a value that Python cannot hold"
        value = {name: _undecoded(column[0]) for name, column in zip(row.schema.names, row.columns, strict=True)}
        raw = json.dumps(plain(value, "surrogateescape"), ensure_ascii=False).encode("utf-8", "surrogateescape")
        return Element(raw, number, None, problem)


def _element(row: dict[str, Any], number: int) -> Element:
    value = {name: said(member) for name, member in row.items()}
    raw = json.dumps(plain(row), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Element(raw, number, None, None if _finite(value) else "NaN or infinity is not JSON", value=value)


def _finite(value: Any) -> bool:
    if isinstance(value, dict | list):
        return all(map(_finite, value.values() if isinstance(value, dict) else value))
    return not isinstance(value, float) or math.isfinite(value)


def _undecoded(value: Any) -> Any:
    """An Arrow scalar with bytes in place of text, which may hold anything."""
    import pyarrow as pa

    if not value.is_valid:
        return None
    if isinstance(value, pa.DictionaryScalar):
        return _undecoded(value.value)
    if isinstance(value, pa.StructScalar):
        return {name: _undecoded(member) for name, member in value.items()}
    if hasattr(value, "values"):
        return [_undecoded(member) for member in value.values]
    if hasattr(value, "as_buffer"):
        return value.as_buffer().to_pybytes()
    try:
        return value.as_py()
    except _UNREADABLE:
        return str(value.cast(pa.int64())) if pa.types.is_temporal(value.type) else None


def _bytes_of(group: Any) -> tuple[int, int]:
    """Where the columns of a row group begin in the file, and their bytes in all."""
    columns = [group.column(index) for index in range(group.num_columns)]
    starts = [c.dictionary_page_offset or c.data_page_offset for c in columns]
    return min(starts), sum(column.total_compressed_size for column in columns)


def _broken(file: RawFile, number: int, problem: str, holds: float, start: int, size: int) -> Iterator[Element]:
    with file.path.open("rb") as opened:
        opened.seek(start)
        end = start + size
        yield from in_parts(lambda most: opened.read(min(most, end - opened.tell())), number, None, problem, holds)

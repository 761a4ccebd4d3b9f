"""Rows of tables that are not text: a parquet file, or a dataset that is streamed from where it lies.

Such rows have a number instead of a line and no byte offset; their raw bytes are the row as JSON, in which bytes
that are no text are written in base64 and times in ISO 8601. What cannot be read of a file is one bad row with the
file's own bytes.

Bytes are text if they are UTF-8, else a null. Arrow gives all structs of a column the same keys, and those that one
of them lacks are null there. So nulls of structs inside structs are left out, as of a call's arguments and a function's
parameters; those of a row and of its turns, which mean the same as no field, stay.
"""

import base64
import json
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from corpora.reading.row import Element, in_parts
from corpora.sources.hub import stream
from corpora.sources.raw import RawFile

if TYPE_CHECKING:
    import pyarrow as pa

_BATCH = 1000


def parquet_rows(file: RawFile) -> Iterator[Element]:
    """Every row in order, a batch in memory at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file.path) as table:
            first = 1
            for index in range(table.num_row_groups):
                group, number = table.metadata.row_group(index), first
                try:
                    for batch in table.iter_batches(batch_size=_BATCH, row_groups=[index]):
                        yield from _rows(batch, number)
                        number += batch.num_rows
                except (pa.ArrowException, OSError):
                    yield from _broken(file, number, "a damaged row group: its rows from here on", *_bytes_of(group))
                first += group.num_rows
    except (pa.ArrowException, OSError):
        yield from _broken(file, 1, "not a parquet file: all of its bytes", 0, file.path.stat().st_size)


def streamed_rows(file: RawFile) -> Iterator[Element]:
    """Every row of a streamed dataset in order. Raises CorpusError if it cannot be reached."""
    for number, row in enumerate(stream(file.path), start=1):
        yield _element(row, number)


def _rows(batch: "pa.RecordBatch", number: int) -> Iterator[Element]:
    try:
        rows = batch.to_pylist()
    except UnicodeDecodeError:
        for index in range(batch.num_rows):
            yield _row_by_itself(batch.slice(index, 1), number + index)
        return
    for index, row in enumerate(rows):
        yield _element(row, number + index)


def _row_by_itself(row: "pa.RecordBatch", number: int) -> Element:
    try:
        return _element(row.to_pylist()[0], number)
    except UnicodeDecodeError:
        value = {name: _undecoded(column[0]) for name, column in zip(row.schema.names, row.columns, strict=True)}
        raw = json.dumps(_plain(value, "surrogateescape"), ensure_ascii=False).encode("utf-8", "surrogateescape")
        return Element(raw, number, None, "not UTF-8")


def _element(row: dict[str, Any], number: int) -> Element:
    value = {name: _said(member) for name, member in row.items()}
    raw = json.dumps(_plain(row), ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Element(raw, number, None, None if _finite(value) else "NaN or infinity is not JSON", value=value)


def _said(value: Any, inside: bool = False) -> Any:
    """A value of a column as its writer meant it. inside: whether it is inside a struct."""
    if isinstance(value, dict):
        found = {str(name): _said(member, True) for name, member in value.items()}
        return {name: member for name, member in found.items() if member is not None} if inside else found
    if isinstance(value, list | tuple):
        return [_said(member, inside) for member in value]
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            return None
    return _plain(value)


def _plain(value: Any, text: str | None = None) -> Any:
    """A value as JSON has it; bytes are text with the error handler `text`, else base64."""
    if isinstance(value, dict):
        return {str(name): _plain(member, text) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member, text) for member in value]
    if isinstance(value, bytes):
        return base64.b64encode(value).decode() if text is None else value.decode("utf-8", text)
    if value is None or isinstance(value, str | int | float):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


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
    return value.as_buffer().to_pybytes() if hasattr(value, "as_buffer") else value.as_py()


def _bytes_of(group: Any) -> tuple[int, int]:
    """Where the columns of a row group begin in the file, and their bytes in all."""
    columns = [group.column(index) for index in range(group.num_columns)]
    starts = [c.dictionary_page_offset or c.data_page_offset for c in columns]
    return min(starts), sum(column.total_compressed_size for column in columns)


def _broken(file: RawFile, number: int, problem: str, start: int, size: int) -> Iterator[Element]:
    with file.path.open("rb") as opened:
        opened.seek(start)
        end = start + size
        yield from in_parts(lambda most: opened.read(min(most, end - opened.tell())), number, None, problem)

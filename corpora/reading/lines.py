"""Rows of a file, one by one, so that a bad row never costs the good ones beside it.

A row is a JSON object, or a list of turns: in a `.jsonl` or `.json` file a line, an element of the one list, or one of
several objects over several lines; a line of a `.txt` file as `{"text": …}`, a record of a `.csv` or `.tsv`, an item of
the list in a `.yaml`, a row of a `.parquet` or `.arrow`. All but these two may be compressed by gzip or zstd, and text
be UTF-8 or UTF-16: a file is what its first bytes are, whatever its name says of that. What cannot be a row comes back
as a `BadRow` with its place, reason and bytes, for quarantine, and all bytes of a file that are not between rows are in
one row or another. Where rows cannot be told apart in a stretch of a file, that is one bad row, which says what it
holds. Reasons never quote the text of a row. Which fields a row must have is left to `formats`.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePath
from typing import NamedTuple

from corpora.reading.columnar import arrow_rows, parquet_rows, streamed_rows
from corpora.reading.delimited import records
from corpora.reading.json_list import elements, layout_of
from corpora.reading.json_row import parse_row
from corpora.reading.row import BadRow, Block, Element, Row, RowError
from corpora.reading.streams import Stream, compression_of, decode, decode_start, encoding_of, lines
from corpora.reading.yaml_list import items
from corpora.sources.raw import RawFile
from lineage.errors import CorpusError

__all__ = ["BadRow", "Block", "Row", "RowError", "blocks", "container_of", "parse_row", "read_block", "read_rows"]

_KINDS = {
    ".jsonl": "lines",
    ".ndjson": "lines",
    ".json": "lines",
    ".txt": "text",
    ".csv": "delimited",
    ".tsv": "delimited",
    ".yaml": "yaml",
    ".yml": "yaml",
    ".parquet": "parquet",
    ".arrow": "arrow",
    ".rows": "stream",
}
_TABLES = {"parquet": parquet_rows, "arrow": arrow_rows, "stream": streamed_rows}
_TABLE_MAGIC = {b"PAR1": "parquet", b"ARROW1": "arrow"}
_COMPRESSION = {".gz": "gzip", ".zst": "zstd"}
_CHUNK = 1 << 20


class Container(NamedTuple):
    """`kind` is one of lines, text, delimited, yaml, parquet, arrow and stream; `compression` gzip, zstd or None."""

    kind: str
    compression: str | None


def container_of(file: RawFile) -> Container:
    """Raises CorpusError for a name that no reader knows."""
    inner, outer = PurePath(file.path.stem).suffix.lower(), file.path.suffix.lower()
    compression = _COMPRESSION.get(outer)
    suffix = outer if compression is None else inner
    kind = _KINDS.get(suffix)
    if kind is None or (compression is not None and kind in _TABLES):
        known = ", ".join(suffix for suffix, kind in _KINDS.items() if kind != "stream")
        raise CorpusError(
            f"{file.name}: rows are read from {known} files, all but .parquet and .arrow also with .gz or .zst after "
            f"it, not '{suffix if compression is None else suffix + outer}'"
        )
    kind = _table_of(file) or kind
    return Container(kind, compression if kind in _TABLES else compression_of(file.path, compression))


def _table_of(file: RawFile) -> str | None:
    """The kind of table that a file is by its first and last bytes, if it is one that can be told so."""
    longest = max(map(len, _TABLE_MAGIC))
    with file.path.open("rb") as opened:
        head = opened.read(longest)
        opened.seek(-min(longest, opened.seek(0, 2)), 2)
        tail = opened.read()
    return next((kind for magic, kind in _TABLE_MAGIC.items() if head.startswith(magic) and tail.endswith(magic)), None)


def read_rows(file: RawFile) -> Iterator[Row | BadRow]:
    """Every row of a file in order; blank lines are not rows. Raises CorpusError for an unknown kind of file."""
    return read_block(Block(file))


def read_block(block: Block) -> Iterator[Row | BadRow]:
    """Every row of a block in order, with line and byte offset in the whole file. Raises CorpusError as `read_rows`."""
    name, container = block.file.name, container_of(block.file)
    if container.kind in _TABLES:
        encoding, found = "utf-8", _TABLES[container.kind](block.file)
    else:
        encoding, found = _elements(container, block)
    as_text = container.kind == "text"
    for element in found:
        try:
            if element.problem:
                raise RowError(element.problem)
            value = element.value
            if value is None:
                value = {"text": decode(element.raw, encoding)} if as_text else parse_row(element.raw, encoding)
        except RowError as error:
            place = name, element.line, element.byte_offset
            yield BadRow(*place, str(error), element.raw, element.part, element.holds)
        else:
            yield Row(name, element.line, element.byte_offset, value, element.raw)


def _elements(container: Container, block: Block) -> tuple[str, Iterator[Element]]:
    """The encoding of a file, and its rows as bytes by the container's own reader."""
    stream = Stream(block.file.path, container.compression)
    head = stream.head()
    encoding, mark = encoding_of(head)
    start = block.start or mark
    stream.bytes.seek(start) if block.start else stream.bytes.read(mark)
    if container.kind == "delimited":
        found = records(stream, encoding, start)
    elif container.kind == "yaml":
        found = items(stream, encoding, start)
    elif container.kind == "lines" and block.rows is not None:
        found = elements(stream, encoding, start, inside=block.rows)
    elif container.kind == "lines" and not block.start and (layout := _layout(head[mark:], encoding)) != "lines":
        found = elements(stream, encoding, start, layout == "list")
    else:
        closing = (b"",) if container.kind == "text" else (b"}", b"]")
        found = lines(stream, encoding, block.line, start, block.end, closing)
    return encoding, _then_close(stream, found)


def _then_close(stream: Stream, found: Iterator[Element]) -> Iterator[Element]:
    with stream:
        yield from found


def blocks(files: Sequence[RawFile], block_bytes: int, rows: str | None = None) -> list[Block]:
    """The files as blocks, in order: lines in pieces of at least `block_bytes` that end at a line end, others whole.

    rows: the name of the list that holds the rows, in files that are one object.

    Cut are `.jsonl` and `.txt` that are UTF-8 and not compressed; they are read once, to number their lines.
    Where the cuts lie depends on the files and on `block_bytes` alone, never on the number of workers, so that what is
    made block by block is the same with one worker and with many.
    Raises CorpusError for an unknown kind of file.
    """
    if rows is not None:
        return [Block(file, rows=rows) for file in files]
    return [block for file in files for block in (_cut(file, block_bytes) if _cuttable(file) else [Block(file)])]


def _cuttable(file: RawFile) -> bool:
    container = container_of(file)
    if container.kind not in ("lines", "text") or container.compression:
        return False
    with Stream(file.path, None) as stream:
        head = stream.head()
    encoding, mark = encoding_of(head)
    return encoding == "utf-8" and (container.kind == "text" or _layout(head[mark:], encoding) == "lines")


def _layout(head: bytes, encoding: str) -> str:
    return layout_of(decode_start(head, encoding))


def _cut(file: RawFile, block_bytes: int) -> Iterator[Block]:
    start, line, position, lines = 0, 1, 0, 0
    with file.path.open("rb") as stream:
        while chunk := stream.read(_CHUNK):
            begin = 0
            while (stop := chunk.find(b"\n", max(begin, start + block_bytes - position - 1)) + 1) > 0:
                lines += chunk.count(b"\n", begin, stop)
                yield Block(file, start, position + stop, line)
                start, line, lines, begin = position + stop, line + lines, 0, stop
            lines += chunk.count(b"\n", begin)
            position += len(chunk)
    if start < position:
        yield Block(file, start, position, line)

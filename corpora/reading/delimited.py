"""Records of a table in text, `.csv` or `.tsv`, as objects of text by the names in its first line.

The standard reader splits records, fed line by line, so that the bytes of each are known. The delimiter is the one
of comma, semicolon and tab that the first line has most of, or what a line `sep=;` before it says. Columns without a
name, as Excel leaves behind the others, hold nothing. A quote that never closes costs its own line alone.
"""

import csv
import re
import sys
from collections import deque
from collections.abc import Iterator

from corpora.reading.row import LONGEST, Element, RowError, on_one_line
from corpora.reading.streams import Stream, blank, decode, whole_lines

_DELIMITERS = (",", ";", "\t")
_DELIMITER_TOLD = re.compile(r'"?sep=(.)"?\s*')
"""What Excel takes from a line before the names, and writes there."""
_BARE = "new-line character seen in unquoted field"
"""What the standard reader says of a CR within a line."""


def records(stream: Stream, encoding: str, start: int) -> Iterator[Element]:
    """Every record after the line of names, in order. The stream stands at byte `start`, the first of that line."""
    csv.field_size_limit(sys.maxsize)
    table = _Lines(whole_lines(stream, encoding, 1, start), encoding)
    reader, delimiter, names, unnamed = None, None, list[str](), ""
    while (line := table.next_line()) is not None:
        if line.problem:
            yield line
            continue
        if blank(line.raw, encoding):
            continue
        table.again([line])
        if reader is None:
            first = line.raw.decode(encoding, "replace")
            if delimiter is None and (told := _DELIMITER_TOLD.fullmatch(first)):
                delimiter = told[1]
                table.next_line()
                continue
            reader = csv.reader(table, delimiter=delimiter or _delimiter(first), strict=True)
        fields, record = _next(reader, table, encoding)
        if names or unnamed:
            yield _named(record, fields, names, unnamed)
        elif fields is None:
            unnamed = "the first line, which names the columns, cannot be read"
            yield record
        else:
            names = fields
            if twice := next((name for name in names if name.strip() and names.count(name) > 1), None):
                unnamed = f"the first line names a column twice: {on_one_line(twice)}"


class _Lines:
    """The lines of a table for the standard reader; `taken` are those of the record that it reads now."""

    def __init__(self, found: Iterator[Element], encoding: str) -> None:
        self._found = found
        self._again: deque[Element] = deque()
        self._encoding = encoding
        self.taken: list[Element] = []

    def next_line(self) -> Element | None:
        return self._again.popleft() if self._again else next(self._found, None)

    def again(self, lines: list[Element]) -> None:
        """These lines come next."""
        self._again.extendleft(reversed(lines))

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        line = self.next_line()
        if line is None:
            raise StopIteration
        if line.problem or sum(len(taken.raw) for taken in self.taken[-1:]) + len(line.raw) > LONGEST:
            self.again([line])
            raise StopIteration
        self.taken.append(line)
        return line.raw.decode(self._encoding, "replace")


def _next(reader: Iterator[list[str]], table: _Lines, encoding: str) -> tuple[list[str] | None, Element]:
    """The fields of the next record, None if it is broken, and its bytes."""
    table.taken = []
    try:
        fields = next(reader)
    except (csv.Error, StopIteration) as error:
        first, *others = table.taken
        table.again(others)
        carriage = "line ends that are CR alone: save the file with LF or CRLF"
        return None, _record([first], encoding, carriage if _BARE in str(error) else "quotes that do not match")
    record = _record(table.taken, encoding)
    try:
        decode(record.raw, encoding)
    except RowError as error:
        record.problem = str(error)
        return None, record
    return fields, record


def _record(taken: list[Element], encoding: str, problem: str | None = None) -> Element:
    feed, carriage = "\n".encode(encoding), "\r".encode(encoding)
    raw = b"".join(line.raw for line in taken).removesuffix(feed).removesuffix(carriage)
    return Element(raw, taken[0].line, taken[0].byte_offset, problem)


def _named(record: Element, fields: list[str] | None, names: list[str], unnamed: str) -> Element:
    if fields is None:
        return record
    if unnamed:
        record.problem = unnamed
    elif len(fields) != len(names) and (len(fields) < len(names) or any(map(str.strip, fields[len(names) :]))):
        record.problem = f"not as many fields as columns: {len(fields)}, the first line names {len(names)}"
    else:
        record.value = dict(zip(names, fields, strict=False))
        nameless = [field for name, field in zip(names, fields, strict=False) if not name.strip()]
        if len(nameless) > 1:
            record.value = {name: field for name, field in record.value.items() if name.strip()}
            record.problem = "words in a column without a name" if any(map(str.strip, nameless)) else None
    return record


def _delimiter(line: str) -> str:
    return max(_DELIMITERS, key=line.count)

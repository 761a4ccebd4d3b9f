"""What reading hands over: good rows, bad rows, and the blocks of a source that are read on their own.

Offsets are bytes of the file; of a compressed file, bytes of the decompressed stream. Which of these a file holds
is found by the readers of each container.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from corpora.sources.raw import RawFile

LONGEST = 16 << 20
"""Bytes of the longest row that is looked at; a longer one is bad, and comes in parts of at most this size."""


@dataclass(slots=True)
class Row:
    """A good row. `line` counts from 1, `byte_offset` from 0; both are of the row's first byte.

    In a table without lines `line` is the number of the row and `byte_offset` is None, and `raw` is the row as JSON.
    Not frozen, because a frozen one takes four times as long to make (1.0 against 0.25 µs).
    """

    file: str
    line: int
    byte_offset: int | None
    value: dict[str, Any]
    raw: bytes


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, as it was found."""

    file: str
    line: int
    byte_offset: int | None
    reason: str
    raw: bytes
    part: int = 0
    """A row too long to be held in memory comes in several parts, one after the other; only part 0 counts as a row."""
    holds: float | None = 1
    """Rows in a stretch of a file in which they cannot be told apart; None: as many as its bytes; infinite: nothing
    tells how many."""


def on_one_line(name: str) -> str:
    """The name of a field as a message shows it, line breaks escaped."""
    return name if name.isprintable() else repr(name)[1:-1]


class RowError(Exception):
    """Why one row cannot be used; goes to quarantine, never to a user as an error."""


class NotToBeLearned(RowError):
    """A row that says so of itself: it is set aside, and nothing is wrong with it."""


@dataclass(frozen=True)
class Block:
    """A part of a source that is read on its own: bytes `start` to `end` of a file, or all of it with `end` None.

    `line` is the number of the first line. A file that is not cut is one block. rows: the name of the list that holds
    the rows, in a file that is one object.
    """

    file: RawFile
    start: int = 0
    end: int | None = None
    line: int = 1
    rows: str | None = None


@dataclass(slots=True)
class Element:
    """The bytes of one row in its container, before anyone looked at them; `problem` if it is known to be bad.

    `value` is there if the container has told already what the row is.
    """

    raw: bytes
    line: int
    byte_offset: int | None
    problem: str | None = None
    part: int = 0
    value: dict[str, Any] | None = None
    holds: float | None = 1
    """As `BadRow.holds`."""


def in_parts(
    read: Callable[[int], bytes], line: int, byte_offset: int | None, problem: str, holds: float | None
) -> Iterator[Element]:
    """Everything that `read` still gives as one bad row in parts, each at its offset; `holds` as of `BadRow`."""
    part = 0
    while raw := read(LONGEST):
        yield Element(raw, line, byte_offset, problem, part, holds=holds)
        part += 1
        byte_offset = None if byte_offset is None else byte_offset + len(raw)

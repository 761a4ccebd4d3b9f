"""Rows of a file, one by one, so that a bad row never costs the good ones beside it.

A row is a JSON object: a line of a `.jsonl` file, an element of the list in a `.json` file, or a line of a `.txt`
file as `{"text": …}`. What cannot be one comes back as a `BadRow` with its place, reason and bytes, for
quarantine. Reasons never quote the text of a row. Which fields a row must have is left to `formats`.
"""

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from corpora.raw import CorpusError, RawFile
from corpora.reading.json_list import Element, elements

_BOM = b"\xef\xbb\xbf"
_SUFFIXES = {".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "json", ".txt": "txt"}


@dataclass(frozen=True)
class Row:
    """A good row. `line` counts from 1, `byte_offset` from 0; both are of the row's first byte."""

    file: str
    line: int
    byte_offset: int
    value: dict[str, Any]
    raw: bytes


@dataclass(frozen=True)
class BadRow:
    """A row that cannot be used, as it was found."""

    file: str
    line: int
    byte_offset: int
    reason: str
    raw: bytes
    part: int = 0
    """A row too long to be held in memory comes in several parts, one after the other; only part 0 counts as a row."""


class RowError(Exception):
    """Why one row cannot be used; goes to quarantine, never to a user as an error."""


@dataclass(frozen=True)
class Block:
    """A part of a source that is read on its own: bytes `start` to `end` of a file, or all of it with `end` None.

    `line` is the number of the first line. A file that is not cut is one block.
    """

    file: RawFile
    start: int = 0
    end: int | None = None
    line: int = 1


def read_rows(file: RawFile) -> Iterator[Row | BadRow]:
    """Every row of a file in order; blank lines are not rows. Raises CorpusError for an unknown kind of file."""
    return read_block(Block(file))


def read_block(block: Block) -> Iterator[Row | BadRow]:
    """Every row of a block in order, with line and byte offset in the whole file. Raises CorpusError as `read_rows`."""
    file = block.file
    kind = kind_of(file)
    found = elements(file.path) if kind == "json" and _holds_list(file) else _lines(block)
    for element in found:
        try:
            if element.problem:
                raise RowError(element.problem)
            value = {"text": _text(element.raw)} if kind == "txt" else parse_row(element.raw)
        except RowError as error:
            yield BadRow(file.name, element.line, element.byte_offset, str(error), element.raw)
        else:
            yield Row(file.name, element.line, element.byte_offset, value, element.raw)


def kind_of(file: RawFile) -> str:
    """How rows are kept in a file, by its name. Raises CorpusError."""
    kind = _SUFFIXES.get(file.path.suffix.lower())
    if kind is None:
        known = ", ".join(_SUFFIXES)
        raise CorpusError(f"{file.name}: rows are read from {known} files, not '{file.path.suffix}'")
    return kind


def parse_row(raw: bytes) -> dict[str, Any]:
    """One JSON object, strictly: no NaN or infinity, no key twice, no half of a surrogate pair. Raises RowError."""
    text = _text(raw)
    try:
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant, parse_float=_finite)
        if b"\\u" in raw:
            json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise RowError(f"not valid JSON: {error.msg} at character {error.pos}") from None
    except UnicodeEncodeError:
        raise RowError("half of a surrogate pair") from None
    except RecursionError:
        raise RowError("nested too deeply") from None
    except ValueError:
        raise RowError("a number that is too long") from None
    if not isinstance(value, dict):
        raise RowError(f"not a JSON object but a {type(value).__name__}")
    return value


def _lines(block: Block) -> Iterator[Element]:
    """Lines that are not blank, without their line ends and without a byte order mark."""
    offset, number = block.start, block.line
    with block.file.path.open("rb") as stream:
        stream.seek(block.start)
        for whole in stream:
            start = len(_BOM) if offset == 0 and whole.startswith(_BOM) else 0
            raw = whole[start:].removesuffix(b"\n").removesuffix(b"\r")
            if raw.strip():
                yield Element(raw, number, offset + start, _truncated(whole, raw, block.file))
            offset, number = offset + len(whole), number + 1
            if offset == block.end:
                return


def _truncated(whole: bytes, raw: bytes, file: RawFile) -> str | None:
    """A last line of JSON without its line end that does not close was cut off in transfer."""
    if whole.endswith(b"\n") or file.path.suffix.lower() == ".txt" or raw.rstrip().endswith(b"}"):
        return None
    return "truncated last line"


def _holds_list(file: RawFile) -> bool:
    """Whether a .json file is one list; otherwise it is read as one object a line."""
    with file.path.open("rb") as stream:
        return stream.read(1 << 16).removeprefix(_BOM).lstrip()[:1] == b"["


def _text(raw: bytes) -> str:
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(f"not UTF-8: byte {error.start} of the row") from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise RowError("a key twice in one object")
    return value


def _no_constant(name: str) -> float:
    raise RowError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise RowError("a number that is too large")
    return number

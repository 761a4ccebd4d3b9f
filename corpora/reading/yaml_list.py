"""Items of a list in YAML, each read on its own, so that a broken one costs itself alone.

The list is the whole file, or what follows a line `conversations:` at its margin, as in chatterbot's corpora: there
an item becomes the field `conversation` of a row, beside the fields that the file has before the list; fields behind
it, which rows were read without, are a bad row. An item begins with `- ` at the indentation of the first. Words in
lists are text: `No` is no Boolean, `1984` no number.
"""

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from corpora.reading.row import LONGEST, Element, RowError
from corpora.reading.streams import Stream, blank, decode, whole_lines
from recipes.load import UniqueKeys

_ITEM = re.compile(r"( *)-(?:\s|$)")
_KEY = re.compile(r"[^\s#-][^:]*:(?:\s|$)")
_LIST = re.compile(r"conversations\s*:\s*(?:#.*)?$")
_ALIAS = re.compile(r"(?:^|[\s\[{,])\*\w")
_TOO_LONG = f"longer than {LONGEST >> 20} MiB"
_NO_LIST = "no list of rows: neither the file itself nor a field `conversations` at its margin"

_BEHIND = "fields behind the list of rows, which are read without them: write them before it"
_MARGIN = ("#", "---", "...", "%")
"""What begins lines of YAML that hold nothing."""

_Words: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)
"""Reads every scalar as text."""


def items(stream: Stream, encoding: str, start: int) -> Iterator[Element]:
    """Every item in order. The stream stands at byte `start`, that of the first line."""
    file = _File(encoding)
    for line in whole_lines(stream, encoding, 1, start):
        yield from file.see(line)
    yield from file.end()


class _Lines:
    """Lines that belong together, let go in parts if they are too many to be held."""

    def __init__(self) -> None:
        self._lines: list[Element] = []
        self._size = self._part = 0

    def add(self, line: Element) -> Iterator[Element]:
        self._lines.append(line)
        self._size += len(line.raw)
        if self._size > LONGEST:
            yield self._joined(_TOO_LONG)
            self._lines, self._size, self._part = [], 0, self._part + 1

    def end(self) -> Element | None:
        """What was added since the last end, its problem set if it is the last part of several."""
        found = self._joined(_TOO_LONG if self._part else None) if self._lines else None
        self._lines, self._size, self._part = [], 0, 0
        return found

    def _joined(self, problem: str | None) -> Element:
        raw = b"".join(line.raw for line in self._lines)
        return Element(raw, self._lines[0].line, self._lines[0].byte_offset, problem, self._part)


class _File:
    """What was seen of a file: the fields before its list, and the item that is being read."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding
        self._fields: dict[str, Any] = {}
        self._beside, self._item = _Lines(), _Lines()
        self._indent: int | None = None
        self._awaited, self._named, self._found = True, False, False

    def see(self, line: Element) -> Iterator[Element]:
        if line.problem:
            yield from self._end_item()
            yield line
            return
        text = line.raw.decode(self._encoding, "replace")
        item = _ITEM.match(text)
        if item and self._awaited:
            yield from self._read_fields()
            self._indent, self._awaited, self._found = len(item[1]), False, True
        if self._indent is not None and _KEY.match(text) and self._named:
            yield from self._end_item()
            self._indent = None
        if self._indent is None:
            if not blank(line.raw, self._encoding) and not text.startswith(_MARGIN):
                self._awaited = self._named = bool(_LIST.match(text))
            yield from self._beside.add(line)
        else:
            if item and len(item[1]) == self._indent:
                yield from self._end_item()
            yield from self._item.add(line)

    def end(self) -> Iterator[Element]:
        yield from self._end_item()
        beside = self._beside.end()
        if beside is not None and not blank(beside.raw, self._encoding):
            lines = beside.raw.decode(self._encoding, "replace").splitlines()
            if not self._found or any(line.strip() and not line.startswith(_MARGIN) for line in lines):
                beside.problem = beside.problem or (_BEHIND if self._found else _NO_LIST)
                yield beside

    def _read_fields(self) -> Iterator[Element]:
        beside = self._beside.end()
        if beside is None:
            return
        try:
            fields = _load(decode(beside.raw, self._encoding), _Words) or {}
            if not isinstance(fields, dict):
                raise RowError("not YAML: no fields before the list")
            self._fields = {name: value for name, value in fields.items() if name != "conversations"}
        except RowError as error:
            beside.problem = str(error)
            yield beside

    def _end_item(self) -> Iterator[Element]:
        item = self._item.end()
        if item is None:
            return
        if item.problem is None:
            item.raw = item.raw.rstrip(b"\r\n") if self._encoding == "utf-8" else item.raw
            try:
                item.value = self._row(decode(item.raw, self._encoding))
            except RowError as error:
                item.problem = str(error)
        yield item

    def _row(self, text: str) -> dict[str, Any]:
        (value,) = _one(_load(text, _Words))
        if isinstance(value, dict):
            return _plain(_one(_load(text, UniqueKeys))[0])
        if isinstance(value, list) and any(isinstance(turn, dict) for turn in value):
            value = _one(_load(text, UniqueKeys))[0]
        name = "conversation" if self._named or not isinstance(value, str) else "text"
        return _plain({**self._fields, name: value})


def _one(value: Any) -> list[Any]:
    if not isinstance(value, list) or len(value) != 1:
        raise RowError("not YAML: more than one item where one begins")
    return value


def _load(text: str, loader: Any) -> Any:
    """Raises RowError; aliases are refused, because a few of them can stand for any amount of text."""
    try:
        if _ALIAS.search(text) and any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text)):
            raise RowError("an alias of YAML, which is not read")
        return yaml.load(text, Loader=loader)  # noqa: S506 - loaders that only make plain values
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 1
        reason = "a key twice in one object" if "written twice" in str(error.problem) else "not YAML"
        raise RowError(f"{reason}: line {line} of the row") from None
    except (yaml.YAMLError, RecursionError, ValueError):
        raise RowError("not YAML") from None


def _plain(value: dict[str, Any]) -> dict[str, Any]:
    """The row as JSON would have it. Raises RowError for a date, a set or a NaN."""
    try:
        plain: dict[str, Any] = json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        raise RowError("a value that is not JSON: write dates and the like in quotes") from None
    return plain

"""Split a file that is one JSON list into its elements, even when some of them are damaged.

Good elements are found by the standard decoder, which runs at the speed of C; where it fails, the end of the
broken element is looked for by brackets, and by the indentation of the next element in case a bracket or quote
is missing. Memory is bounded by the longest element. What an element means is left to `lines`.
"""

import codecs
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_CHUNK = 1 << 20
LONGEST = 16 << 20
"""Characters that are searched for the end of an element before it is taken for broken."""

_SPACE = re.compile(r"[\s\ufeff]*")
_BETWEEN = re.compile(r"[\s,]*")
_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"?|[\[\]{},]')
_DECODER = json.JSONDecoder()


@dataclass(frozen=True)
class Element:
    """The bytes of one element or line and where they begin; `problem` if it is known to be bad already."""

    raw: bytes
    line: int
    byte_offset: int
    problem: str | None = None


class _Window:
    """A sliding piece of the file as text. Bytes that are not UTF-8 survive as surrogate escapes."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("rb")
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self.text, self.at, self.ended = "", 0, False
        self._line, self._byte = 1, 0

    def grow(self) -> bool:
        """Read on; False at the end of the file. Doubles, so that long elements are not parsed too often."""
        block = self._file.read(max(_CHUNK, len(self.text) - self.at))
        self.ended = not block
        self.text += self._decoder.decode(block, final=self.ended)
        return not self.ended

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Move past what the pattern matches, however far it goes."""
        while True:
            match = pattern.match(self.text, self.at)
            self.take(match.end() if match else self.at)
            if self.at < len(self.text) or not self.grow():
                return

    def take(self, end: int, problem: str | None = None) -> Element:
        """Cut the text up to `end` off as an element."""
        raw = self.text[self.at : end].encode("utf-8", "surrogateescape")
        element = Element(raw, self._line, self._byte, problem)
        self._line += raw.count(b"\n")
        self._byte += len(raw)
        self.at = end
        if self.at > _CHUNK:
            self.text, self.at = self.text[self.at :], 0
        return element

    def close(self) -> None:
        self._file.close()


def elements(path: Path) -> Iterator[Element]:
    """Every element of the list, good or broken, in order; one more for a missing end or text after it."""
    window = _Window(path)
    try:
        window.skip(_SPACE)
        window.take(window.at + 1)
        yield from _elements(window)
    finally:
        window.close()


def _elements(window: _Window) -> Iterator[Element]:
    indent, first = None, True
    while True:
        window.skip(_BETWEEN)
        if window.at == len(window.text):
            yield window.take(window.at, "the file ends before its list does")
            return
        if window.text[window.at] == "]":
            window.take(window.at + 1)
            break
        if first:
            indent, first = _indent(window), False
        end = _decoded_end(window) or _broken_end(window, indent)
        if end is None:
            yield window.take(len(window.text), "it does not close: the rest of the file cannot be split")
            return
        yield window.take(end)
    window.skip(_SPACE)
    if window.at < len(window.text):
        while window.grow():
            pass
        yield window.take(len(window.text), "text after the end of the list")


def _decoded_end(window: _Window) -> int | None:
    """Where the element ends by the decoder, or None if it is broken."""
    while True:
        try:
            end = _DECODER.raw_decode(window.text, window.at)[1]
            if end < len(window.text) or window.ended:
                return end
        except RecursionError:
            return None
        except ValueError:
            if window.ended or len(window.text) - window.at > LONGEST:
                return None
        window.grow()


def _broken_end(window: _Window, indent: str | None) -> int | None:
    """Where a broken element ends: where its brackets close or, if that is earlier, the next element begins.

    An element begins on a line of its own with the indentation of the first one. None if neither is found.
    """
    following = re.compile(rf"\n{indent}(?=\{{)").search(window.text, window.at + 1) if indent is not None else None
    depth = 0
    for token in _TOKEN.finditer(window.text, window.at, following.start() if following else len(window.text)):
        mark = token.group()
        if mark in "[{":
            depth += 1
        elif mark in "]}" and depth == 1:
            return token.end()
        elif mark in "]}" and depth > 1:
            depth -= 1
        elif mark in ",]}" and depth == 0:
            return max(token.start(), window.at + 1)
    return following.start() if following else None


def _indent(window: _Window) -> str | None:
    """The white space before the first element, if that stands on a line of its own."""
    before = window.text[window.text.rfind("\n", 0, window.at) + 1 : window.at]
    return before if before.isspace() or (not before and window.at > 0 and window.text[window.at - 1] == "\n") else None

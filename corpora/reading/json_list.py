"""Split a file that is one JSON list, or JSON objects one behind the other, even when some of them are damaged.

Good elements are found by the standard decoder, which runs at the speed of C; where it fails, the end of the
broken element is looked for by brackets, and by the indentation of the next element in case a bracket or quote
is missing. Where no end is found the rest of the file is one bad row in parts, so that no byte is lost and memory
is bounded by the longest element. What an element means is left to `json_row`.
"""

import codecs
import json
import re
from collections.abc import Iterator
from typing import Literal

from corpora.reading.row import LONGEST, Element
from corpora.reading.streams import Stream

_CHUNK = 1 << 20
_FIRST = 2
"""Elements of which one tells where elements begin: the first, or where that stands beside the bracket the second."""
_PART = LONGEST // 4
"""Characters of a part: at most four bytes each."""

_TOO_LONG = f"longer than {_PART >> 20} Mi characters"
_BEHIND = "text after the end of the list"
_OPENS_LIST = re.compile(r"\s*:\s*\[")
_SPACE = re.compile(r"[ \t\r\n]*")
_BETWEEN = re.compile(r"[ \t\r\n,]*")
_TOKEN = re.compile(r'"(?:[^"\\\n]++|\\.)*+"?|[\[\]{},]')  # possessive: a long string takes no stack
_DECODER = json.JSONDecoder()


class _Window:
    """A sliding piece of the file as text, whose bytes can be had back exactly whatever they are."""

    def __init__(self, stream: Stream, encoding: str, start: int) -> None:
        self._file = stream.bytes
        self._encoding = encoding
        self._lenient = "surrogateescape" if encoding == "utf-8" else "surrogatepass"
        self._decoder = codecs.getincrementaldecoder(encoding)(self._lenient)
        self.text, self.at, self.ended = "", 0, False
        self.line, self.byte = 1, start

    def grow(self) -> bool:
        """Read on; False at the end of the file. Doubles, so that long elements are not parsed too often."""
        block = self._file.read(max(_CHUNK, len(self.text) - self.at))
        self.ended = not block
        self.text += self._decoder.decode(block, final=self.ended and self._encoding == "utf-8")
        return not self.ended

    def skip(self, pattern: re.Pattern[str]) -> None:
        """Move past what the pattern matches, however far it goes."""
        while True:
            match = pattern.match(self.text, self.at)
            self.take(match.end() if match else self.at)
            if self.at < len(self.text) or not self.grow():
                return

    def take(self, end: int, problem: str | None = None, part: int = 0, holds: float | None = 1) -> Element:
        """Cut the text up to `end` off as an element; `holds` as of `BadRow`."""
        text = self.text[self.at : end]
        element = Element(text.encode(self._encoding, self._lenient), self.line, self.byte, problem, part, holds=holds)
        self.line += text.count("\n")
        self.byte += len(element.raw)
        self.at = end
        if self.at > _CHUNK:
            self.text, self.at = self.text[self.at :], 0
        return element

    def parts(self, end: int, problem: str, line: int, part: int = 0, holds: float | None = None) -> Iterator[Element]:
        """Cut the text up to `end` off as parts of one bad row that began on `line`, from number `part` on."""
        left = end - self.at
        while left:
            piece = min(_PART, left)
            element = self.take(self.at + piece, problem, part, holds)
            element.line = line
            yield element
            left, part = left - piece, part + 1

    def remains(self, problem: str) -> Iterator[Element]:
        """Everything from here to the end of the file, as one bad row in parts."""
        line, part = self.line, 0
        while self.at < len(self.text) or self.grow():
            for element in self.parts(len(self.text), problem, line, part):
                yield element
                part += 1
        half = self._decoder.getstate()[0]
        if half:
            yield Element(half, line, self.byte, problem, part, holds=None)
            self.byte += len(half)


def layout_of(head: str) -> Literal["list", "objects", "lines"]:
    """How a file that begins so holds its rows: in one list, as objects of several lines or on one, or one a line."""
    text = head.lstrip()
    first, _, others = text.partition("\n")
    if text.startswith("["):
        return "lines" if others.lstrip().startswith("[") and _is_list(first) else "list"
    first = first.strip()
    if first == "{":
        return "objects"
    try:
        end = _DECODER.raw_decode(text)[1] if text.startswith("{") else 0
    except (ValueError, RecursionError):
        return "lines"
    return "objects" if end > len(first) or text[end : len(first)].lstrip().startswith("{") else "lines"


def _is_list(line: str) -> bool:
    """Whether a line is a list that is whole and holds something, as of the turns of a conversation."""
    try:
        found, end = _DECODER.raw_decode(line)
    except (ValueError, RecursionError):
        return False
    return bool(found) and not line[end:].strip()


def elements(
    stream: Stream, encoding: str, start: int, listed: bool = True, inside: str | None = None
) -> Iterator[Element]:
    """Every element of the list, good or broken, in order; one more for a missing end or text after it.

    The stream stands at byte `start`, before the list. listed: else they are objects one behind the other. inside: the
    name under which the file's one object holds the list; what else that holds is no row.
    """
    window = _Window(stream, encoding, start)
    if inside is not None and not _to_list(window, inside):
        yield from window.remains(f"no list '{inside}' in an object that is the whole file")
        yield from stream.rest(window.line, window.byte)
        return
    if listed and inside is None:
        window.skip(_SPACE)
        window.take(window.at + 1)
    behind: list[Element] = []
    for element in _elements(window, listed):
        if inside is None or element.problem != _BEHIND:
            yield element
        else:
            behind.append(element)
    yield from behind if inside is not None and not _closes(behind, inside, encoding) else ()
    yield from stream.rest(window.line, window.byte)


def _closes(behind: list[Element], name: str, encoding: str) -> bool:
    """Whether what stands behind a list is the rest of the one object that holds it."""
    if len(behind) != 1:
        return False
    try:
        rest = json.loads('{"":0' + behind[0].raw.decode(encoding))
    except (ValueError, RecursionError):
        return False
    return name not in rest


def _to_list(window: _Window, name: str) -> bool:
    """Move behind the bracket that opens a list of the file's one object; False, and no move, if it has none."""
    while True:
        depth = 0
        for token in _TOKEN.finditer(window.text):
            mark = token.group()
            depth += (mark in "[{") - (mark in "]}")
            if depth == 1 and mark.startswith('"') and mark == json.dumps(name, ensure_ascii=False):
                opened = _OPENS_LIST.match(window.text, token.end())
                if opened is not None:
                    window.take(opened.end())
                    return True
        if len(window.text) > LONGEST or not window.grow():
            return False


def _elements(window: _Window, listed: bool) -> Iterator[Element]:
    indent, count = None if listed else "", 0
    while True:
        window.skip(_BETWEEN if listed else _SPACE)
        if window.at == len(window.text):
            if listed:
                yield window.take(window.at, "the file ends before its list does")
            yield from window.remains("half a character at the end of the file")
            return
        if listed and window.text[window.at] == "]":
            window.take(window.at + 1)
            break
        if listed and indent is None and count < _FIRST:
            indent, count = _indent(window), count + 1
        whole = _decoded_end(window)
        end = whole or _broken_end(window, indent)
        if end is None:
            yield from _unclosed(window, indent)
            if window.at == len(window.text):
                yield from window.remains("half a character at the end of the file")
                return
        elif end - window.at > _PART:
            yield from window.parts(end, _TOO_LONG, window.line, holds=1)
        else:
            yield window.take(end, holds=1 if whole else None)
    window.skip(_SPACE)
    yield from window.remains(_BEHIND)


def _decoded_end(window: _Window) -> int | None:
    """Where the element ends by the decoder, or None if it is broken or longer than LONGEST."""
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
    following = re.compile(rf"\n{indent},?(?=\{{)").search(window.text, window.at + 1) if indent is not None else None
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


def _unclosed(window: _Window, indent: str | None) -> Iterator[Element]:
    """An element whose end is not in sight, in parts: up to where its brackets close, or the next element begins.

    Where neither comes it is the rest of the file.
    """
    line, part, depth, quoted = window.line, 0, 0, False
    problem = "it does not close: the rest of the file cannot be split" if window.ended else _TOO_LONG
    begins = "" if indent is None else rf"|\n{indent},?(?=\{{)"
    marks = re.compile(rf'\\.|[",\[\]{{}}]{begins}', re.DOTALL)
    margin = 3 + len(indent or "")
    while window.at < len(window.text):
        if len(window.text) - window.at <= margin:
            window.grow()
        stop = len(window.text) if window.ended else max(window.at, len(window.text) - margin)
        for found in marks.finditer(window.text, window.at):
            mark = found.group()
            if found.start() >= stop:
                break
            stop = max(stop, found.end())
            if mark[0] == "\n" or (not quoted and depth == 0 and mark in ",]}"):
                yield from window.parts(found.start(), problem, line, part)
                return
            quoted ^= mark == '"'
            depth += 0 if quoted else (mark in "[{") - (mark in "]}")
            if not quoted and depth == 0 and mark in "]}":
                yield from window.parts(found.end(), problem, line, part)
                return
        for element in window.parts(stop, problem, line, part):
            yield element
            part += 1


def _indent(window: _Window) -> str | None:
    """The white space before an element, and a comma if there is one, if that begins its line."""
    before = window.text[window.text.rfind("\n", 0, window.at) + 1 : window.at]
    begins = not before and window.at > 0 and window.text[window.at - 1] == "\n"
    return before if begins or (before and not before.strip(" \t\r,")) else None

"""The bytes inside a file: decompressed if they are compressed, cut into lines, whatever damage they have.

Damage never raises: a stream ends where its file cannot be decompressed any further, and then says so. What the
lines mean is left to those who ask for them.
"""

import codecs
import io
import math
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from corpora.reading.row import LONGEST, Element, RowError, in_parts

UTF8_BOM = b"\xef\xbb\xbf"
_UTF16 = {b"\xff\xfe": "utf-16-le", b"\xfe\xff": "utf-16-be"}
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd"}
_BUFFER = 1 << 20
_HEAD = 1 << 16
_SLICE = 4096
"""Compressed bytes fed at once: bounds what comes out to 4 MB for gzip (1032 : 1), 128 MB for zstd at its worst."""


FIRST = 64
"""Bytes of a file that tell its encoding and compression."""

_PADDING = b"\0"
"""What may stand between and after the members of a compressed file."""


@dataclass(frozen=True)
class Damage:
    """Where a compressed file breaks off: the reason, and from which byte of the file on nothing could be read."""

    reason: str
    compressed_offset: int


class Stream:
    """A file open for reading, in `bytes`; `damage` is known when these are at their end."""

    def __init__(self, path: Path, compression: str | None) -> None:
        self._path = path
        self._inner = None if compression is None else _Decompressed(path, compression)
        raw = path.open("rb", buffering=0) if self._inner is None else self._inner
        self.bytes = io.BufferedReader(raw, _BUFFER)

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *_: object) -> None:
        self.bytes.close()

    def head(self) -> bytes:
        """The first bytes, which stay to be read: 64 KiB of them if there are so many."""
        found: bytes = self.bytes.peek(_HEAD)
        return found[:_HEAD]

    @property
    def damage(self) -> Damage | None:
        return None if self._inner is None else self._inner.damage

    def rest(self, line: int, byte_offset: int) -> Iterator[Element]:
        """If the stream broke off: what is left of the file, still compressed, as one bad row."""
        if self.damage is None:
            return
        problem = f"{self.damage.reason}: what follows is the rest of the file, still compressed"
        with self._path.open("rb") as file:
            file.seek(self.damage.compressed_offset)
            left = list(in_parts(file.read, line, byte_offset, problem, math.inf))
        yield from left or [Element(b"", line, byte_offset, problem, holds=math.inf)]


def compression_of(path: Path, named: str | None) -> str | None:
    """How a file is compressed, by its first bytes, whatever its name is; `named` where these are damaged."""
    with path.open("rb") as file:
        head = file.read(FIRST)
    found = next((compression for magic, compression in _MAGIC.items() if head.startswith(magic)), None)
    return found if found or (head and _is_text(head)) else named


def _is_text(head: bytes) -> bool:
    encoding, mark = encoding_of(head)
    try:
        text = decode_start(head[mark:], encoding, "strict")
    except UnicodeDecodeError:
        return False
    return all(character.isprintable() or character.isspace() for character in text)


def decode_start(head: bytes, encoding: str, errors: str = "replace") -> str:
    """The text of a file's first bytes; where they are cut within a character, without it."""
    return codecs.getincrementaldecoder(encoding)(errors).decode(head)


def encoding_of(head: bytes) -> tuple[str, int]:
    """The encoding that a file's first bytes tell, and the length of its byte order mark: UTF-16 by its mark, or by
    characters of which every other byte is 0, else UTF-8."""
    if head.startswith(UTF8_BOM):
        return "utf-8", len(UTF8_BOM)
    if (utf16 := _UTF16.get(head[:2])) is not None:
        return utf16, 2
    even, odd = head[0:FIRST:2], head[1:FIRST:2]
    if len(odd) > 1 and any(even) != any(odd):
        return ("utf-16-le" if any(even) else "utf-16-be"), 0
    return "utf-8", 0


def decode(raw: bytes, encoding: str) -> str:
    """The text of a row. Raises RowError."""
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError as error:
        name = encoding.removesuffix("-le").removesuffix("-be").upper()
        mend = " (save the file as UTF-8)" if name == "UTF-8" else ""
        raise RowError(f"not {name}: byte {error.start} of the row{mend}") from None


def whole_lines(stream: Stream, encoding: str, number: int, offset: int, end: int | None = None) -> Iterator[Element]:
    """Every line with its line end, up to byte `end`; then what could not be decompressed.

    The stream stands at byte `offset`, the start of line `number`. A line longer than LONGEST is bad.
    """
    readline = _readline(stream.bytes, encoding)
    feed = "\n".encode(encoding)
    while offset != end and (whole := readline(LONGEST)):
        if len(whole) < LONGEST or whole.endswith(feed):
            yield Element(whole, number, offset)
            offset += len(whole)
        else:
            for element in _long(readline, whole, number, offset, feed):
                yield element
                offset += len(element.raw)
        number += 1
    yield from stream.rest(number, offset)


def lines(
    stream: Stream, encoding: str, number: int, offset: int, end: int | None = None, closing: tuple[bytes, ...] = (b"",)
) -> Iterator[Element]:
    """As `whole_lines`, without blank lines and without line ends.

    A last line without a line end that ends with none of `closing` is bad: it was cut off in transfer.
    """
    feed, carriage = "\n".encode(encoding), "\r".encode(encoding)
    for element in whole_lines(stream, encoding, number, offset, end):
        whole = element.raw
        if element.problem:
            yield element
        elif not blank(whole, encoding):
            if whole.endswith(feed):
                element.raw = whole.removesuffix(feed).removesuffix(carriage)
            else:
                element.problem = _cut_off(whole, encoding, closing, stream)
            yield element


def blank(raw: bytes, encoding: str) -> bool:
    """Whether a line holds nothing but white space."""
    return not raw or (raw.isspace() if encoding == "utf-8" else not raw.decode(encoding, "replace").strip())


def _cut_off(raw: bytes, encoding: str, closing: tuple[bytes, ...], stream: Stream) -> str | None:
    if stream.damage is not None:
        return "cut off: the compressed stream ends within this row"
    return None if raw.rstrip().endswith(closing) or encoding != "utf-8" else "truncated last line"


def _long(readline: Callable[[int], bytes], whole: bytes, number: int, offset: int, feed: bytes) -> Iterator[Element]:
    """A line too long to be looked at, in parts, the last with its line end."""
    part, problem = 0, f"longer than {LONGEST >> 20} MiB"
    while whole:
        yield Element(whole, number, offset, problem, part)
        if whole.endswith(feed):
            return
        offset, part = offset + len(whole), part + 1
        whole = readline(LONGEST)


def _readline(stream: "io.BufferedReader[Any]", encoding: str) -> Callable[[int], bytes]:
    if encoding == "utf-8":
        return stream.readline
    return lambda limit: _utf16_readline(stream, encoding, limit)


def _utf16_readline(stream: "io.BufferedReader[Any]", encoding: str, limit: int) -> bytes:
    """One line of two-byte units: a line feed is a whole unit, not any byte 0A."""
    feed = "\n".encode(encoding)
    parts, length = [], 0
    while length < limit and (piece := stream.readline(limit - length)):
        if encoding == "utf-16-le" and (length + len(piece)) % 2:
            piece += stream.read(1)
        parts.append(piece)
        length += len(piece)
        if length % 2 == 0 and piece.endswith(feed):
            break
    return b"".join(parts)


class _Decompressed(io.RawIOBase):
    """The decompressed bytes of a file of one or more gzip members or zstd frames, up to its first damage."""

    def __init__(self, path: Path, compression: str) -> None:
        self._pieces = _decompress(path, compression, self)
        self._left = memoryview(b"")
        self.damage: Damage | None = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._left:
            piece = next(self._pieces, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        size = min(len(buffer), len(self._left))
        buffer[:size], self._left = self._left[:size], self._left[size:]
        return size


def _decompress(path: Path, compression: str, told: _Decompressed) -> Iterator[bytes]:
    new, errors = _codec(compression)
    with path.open("rb") as file:
        member = at = 0
        decoder, data = new(), file.read(_SLICE)
        while data:
            try:
                piece = decoder.decompress(data)
            except errors:
                yield from _up_to_damage(path, compression, member, at)
                told.damage = Damage(f"damaged {compression} stream", at)
                return
            if piece:
                yield piece
            at += len(data)
            if decoder.eof:
                at -= len(decoder.unused_data.lstrip(_PADDING))
                file.seek(at)
                member, decoder = at, new()
            data = file.read(_SLICE)
            if at == member and not data.strip(_PADDING):
                return
        if at > member or not at:
            told.damage = Damage(f"truncated {compression} stream", at)


def _up_to_damage(path: Path, compression: str, member: int, bad: int) -> Iterator[bytes]:
    """What the slice at `bad` still gives, byte by byte, when the member is decompressed once more."""
    new, errors = _codec(compression)
    decoder = new()
    with path.open("rb") as file:
        file.seek(member)
        while file.tell() < bad:
            decoder.decompress(file.read(min(_SLICE, bad - file.tell())))
        for byte in file.read(_SLICE):
            try:
                piece = decoder.decompress(bytes((byte,)))
            except errors:
                return
            if piece:
                yield piece


def _codec(compression: str) -> tuple[Callable[[], Any], Any]:
    """A new decoder (`decompress`, `eof`, `unused_data`) and the error that it raises at damage."""
    if compression == "gzip":
        return (lambda: zlib.decompressobj(wbits=31)), zlib.error
    import zstandard

    return (lambda: zstandard.ZstdDecompressor().decompressobj()), zstandard.ZstdError

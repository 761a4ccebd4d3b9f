"""Text as a sequence of hashed words, many texts at a time, in vectors: about ten million words a second.

The rule: text is composed (NFKC) and in lower case. A word is a longest run of letters, digits and marks. A character
of a script that does not part its words (Chinese, Japanese, Thai, Lao, Burmese, Khmer) is a word of its own, and so
is a sign of arithmetic that a digit follows, so that 7 + 5 is not 7 - 5. All else parts words: spaces, punctuation,
the underscore.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Places = NDArray[np.int64]

_PART, _LETTER, _ALONE, _SIGN, _SPACE = range(5)
_SIGNS = "+-−–×÷*/^=<>"
_ALONE_BLOCKS = (
    (0x0E00, 0x0EFF),  # Thai, Lao
    (0x1000, 0x109F),  # Burmese
    (0x1780, 0x17FF),  # Khmer
    (0x3005, 0x3007),
    (0x3040, 0x30FF),  # Hiragana, Katakana
    (0x3400, 0x4DBF),
    (0x4E00, 0x9FFF),  # Han
    (0xF900, 0xFAFF),
    (0x20000, 0x323AF),
)
_PLANES = 0x110000
_BLOCK = 1 << 15
"""Characters hashed at a time."""
_SEED = 0x9E3779B97F4A7C15
_BASE = 0xD1342543DE82EF95
_INVERSE = pow(_BASE, -1, 1 << 64)
_MIX = 0xBF58476D1CE4E5B9


@dataclass(frozen=True)
class Words:
    """The words of several texts, one after another.

    hashes: of each word. part: number of the text that each word is in. start, end: characters of the word in its
    normalised text.
    """

    hashes: "Hashes"
    part: "Places"
    start: "Places"
    end: "Places"


def normalise(text: str) -> str:
    """Composed and in lower case; what words are hashed from."""
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()


def split(texts: Sequence[str]) -> Words:
    """The words of all texts."""
    import numpy as np

    normal = [normalise(text) for text in texts]
    bounds = np.zeros(len(normal) + 1, np.int64)
    np.cumsum([len(text) for text in normal], out=bounds[1:])
    codes = np.frombuffer("".join(normal).encode("utf-32-le", "surrogatepass"), "<u4")
    kinds = _kinds(codes)
    inside = kinds != _PART
    joined = kinds == _LETTER
    first = inside.copy()
    first[1:] &= ~(joined[1:] & joined[:-1])
    first[bounds[:-1][bounds[:-1] < len(codes)]] = inside[bounds[:-1][bounds[:-1] < len(codes)]]
    start = np.flatnonzero(first)
    last = inside.copy()
    last[:-1] &= ~(joined[:-1] & joined[1:]) | first[1:]
    end = np.flatnonzero(last) + 1
    part = np.searchsorted(bounds, start, side="right") - 1
    return Words(_hashed(codes, inside, start), part, start - bounds[part], end - bounds[part])


def split_all(texts: Sequence[str]) -> Iterator[Words]:
    """The words of all texts, in blocks that a processor's cache holds; `part` counts on through the blocks."""
    first = 0
    for last in _block_ends(texts):
        block = split(texts[first:last])
        yield replace(block, part=block.part + first)
        first = last


def _block_ends(texts: Sequence[str]) -> Iterator[int]:
    characters = 0
    for number, text in enumerate(texts, start=1):
        characters += len(text)
        if characters >= _BLOCK or number == len(texts):
            yield number
            characters = 0


def spans_in(text: str, spans: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Spans of characters of the normalised text as spans of the text itself."""
    if text.isascii():
        return list(spans)
    ends, total = [], 0
    clusters = _clusters(text)
    for cluster in clusters:
        total += len(normalise(cluster))
        ends.append(total)
    if total != len(normalise(text)):
        return [(0, len(text))]  # composition across clusters that we do not know of: show all
    import bisect

    places = [0]
    for cluster in clusters:
        places.append(places[-1] + len(cluster))
    return [(places[bisect.bisect_right(ends, a)], places[bisect.bisect_left(ends, b) + 1]) for a, b in spans]


def _clusters(text: str) -> list[str]:
    """Characters with the marks and Hangul letters that compose with the one before."""
    found: list[str] = []
    for character in text:
        if found and (unicodedata.combining(character) or "\u1160" <= character <= "\u11ff"):
            found[-1] += character
        else:
            found.append(character)
    return found


def _kinds(codes: Any) -> Any:
    """The kind of each character; a sign is kept only where a digit follows, a space between them or not."""
    import numpy as np

    kinds = np.take(_table(), codes)
    signs = np.flatnonzero(kinds == _SIGN)
    padded = np.append(codes, np.array([0, 0], codes.dtype))
    after = padded[signs + 1]
    after = np.where(after == ord(" "), padded[signs + 2], after)
    counts = (after >= ord("0")) & (after <= ord("9"))
    kinds[signs[~counts]] = _PART
    return kinds


@cache
def _table() -> Any:
    """The kind of every character of Unicode: 1.1 MB."""
    import numpy as np

    kinds = np.zeros(_PLANES, np.uint8)
    for code in range(0x32400):
        if unicodedata.category(chr(code))[0] in "LNM":
            kinds[code] = _LETTER
    for low, high in _ALONE_BLOCKS:
        block = kinds[low : high + 1]
        block[block == _LETTER] = _ALONE
    for sign in _SIGNS:
        kinds[ord(sign)] = _SIGN
    return kinds


def _hashed(codes: Any, inside: Any, start: Any) -> Any:
    """One polynomial hash a word, modulo 2⁶⁴: sums of code × base^place, divided by the base^place of its start."""
    import numpy as np

    if not start.size:
        return np.zeros(0, np.uint64)
    powers, inverses = _powers(len(codes))
    terms = (codes.astype(np.uint64) + np.uint64(_SEED)) * powers[: len(codes)]
    terms *= inside
    hashes = np.add.reduceat(terms, start) * inverses[start]
    return mix(hashes)


def mix(hashes: Any) -> Any:
    """Spread the bits of 64-bit hashes over one another."""
    import numpy as np

    hashes = hashes ^ (hashes >> np.uint64(32))
    hashes *= np.uint64(_MIX)
    hashes ^= hashes >> np.uint64(29)
    return hashes


_grown: list[Any] = []


def _powers(size: int) -> tuple[Any, Any]:
    """base^i and base^-i modulo 2⁶⁴ for i below `size`, kept for the next call."""
    import numpy as np

    if not _grown or len(_grown[0]) < size:
        room = max(1 << 16, 1 << (size - 1).bit_length())
        _grown[:] = [
            np.cumprod(np.append(np.uint64(1), np.full(room - 1, factor, np.uint64))) for factor in (_BASE, _INVERSE)
        ]
    return _grown[0], _grown[1]

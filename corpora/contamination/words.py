"""Text as a sequence of hashed words, many texts at a time.

What a word is says `corpora.words.scripts`, for near duplicates too. Here a sign of arithmetic that a digit follows is
one as well, so that 7 + 5 is not 7 - 5.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from corpora.words import scripts
from corpora.words.scripts import fold

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Hashes = NDArray[np.uint64]
    Places = NDArray[np.int64]

SIGNS = tuple("+-−–×÷*/^=<>")
_CHARACTERS = 0x110000
_BLOCK = 1 << 17
"""Characters hashed at a time."""


@dataclass(frozen=True)
class Words:
    """The words of several texts, one after another.

    hashes: of each word. part: number of the text that each word is in. start, end: characters of the word in its
    folded text.
    """

    hashes: "Hashes"
    part: "Places"
    start: "Places"
    end: "Places"


def split(texts: Sequence[str]) -> Words:
    """The words of all texts."""
    import numpy as np

    from corpora.contamination import kernels

    normal = [fold(text) for text in texts]
    bounds = np.zeros(len(normal) + 1, np.int64)
    np.cumsum([len(text) for text in normal], out=bounds[1:])
    codes = np.frombuffer("".join(normal).encode("utf-32-le", "surrogatepass"), "<u4")
    return Words(*kernels.words(codes, bounds, _kinds()))


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
    """Spans of characters of the folded text as spans of the text itself."""
    if text.isascii():
        return list(spans)
    ends, total = [], 0
    clusters = _clusters(text)
    for cluster in clusters:
        total += len(fold(cluster))
        ends.append(total)
    if total != len(fold(text)):
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


@cache
def _kinds() -> Any:
    """The kind of every character of folded text: 1.1 MB."""
    import numpy as np

    from corpora.contamination.kernels import ALONE, LETTER, PART, SIGN

    entries = scripts.table()
    in_word, alone = entries & scripts.WORD != 0, entries & scripts.ALONE != 0
    kinds = np.full(_CHARACTERS, PART, np.uint8)
    kinds[: scripts.SIZE] = np.select([in_word & alone, in_word], [ALONE, LETTER], PART)
    kinds[scripts.IDEOGRAPHS_FROM : scripts.IDEOGRAPHS_TO] = ALONE
    for sign in SIGNS:
        kinds[ord(sign)] = SIGN
    return kinds

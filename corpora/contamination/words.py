"""Text as a sequence of hashed words, many texts at a time.

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

SIGNS = tuple("+-−–×÷*/^=<>")
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
_CHARACTERS = 0x110000
_LETTERS_END = 0x32400
"""No character from here on is a letter."""
_BLOCK = 1 << 17
"""Characters hashed at a time."""


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

    from corpora.contamination import kernels

    normal = [normalise(text) for text in texts]
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


@cache
def _kinds() -> Any:
    """The kind of every character of Unicode: 1.1 MB."""
    import numpy as np

    from corpora.contamination.kernels import ALONE, LETTER, PART, SIGN

    kinds = np.full(_CHARACTERS, PART, np.uint8)
    for code in range(_LETTERS_END):
        if unicodedata.category(chr(code))[0] in "LNM":
            kinds[code] = LETTER
    for low, high in _ALONE_BLOCKS:
        block = kinds[low : high + 1]
        block[block == LETTER] = ALONE
    for sign in SIGNS:
        kinds[ord(sign)] = SIGN
    return kinds

"""Text as it is compared, with other rows and with evaluation items: Unicode form NFKC, then lower case; and which of
its characters make words.

`table()` does it for a character at a time, for the kernels. Where a character's neighbours matter (combining
marks, the Greek final sigma) or it becomes several characters, it is marked `HARD` and the whole text goes through
`fold`, which is the rule itself. Words are runs of letters, marks and digits; the variation selectors behind the
ideographs, marks that choose the shape of one, are in no word. A character of a script that puts no spaces between
words (Chinese, Japanese, Thai and others) is a word of its own.
"""

import unicodedata
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

VERSION = 2

CODE_POINT = (1 << 21) - 1
WORD, ALONE, DIGIT, SPACE, HARD = (1 << bit for bit in range(24, 29))

SIZE = 0x20000
"""Code points in the table: the planes of everyday writing and emoji. Those behind it are `HARD`."""
IDEOGRAPHS_FROM, IDEOGRAPHS_TO = SIZE, 0x40000

_ALONE = (
    *((0x0E00, 0x0EFF), (0x0F00, 0x0FFF), (0x1000, 0x109F), (0x1780, 0x17FF)),  # Thai, Lao, Tibetan, Burmese, Khmer
    *((0x2E80, 0x2FDF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x31F0, 0x31FF)),  # radicals, kana
    *((0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0x1B000, 0x1B16F)),  # ideographs, rare kana
)
_FINAL_SIGMA = 0x03A3
_HANGUL_VOWELS_AND_FINALS = range(0x1161, 0x11C3)


def fold(text: str) -> str:
    return text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).lower()


@cache
def table() -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
    """By code point: what it becomes (`CODE_POINT`) and what it is (`WORD` … `HARD`)."""
    import numpy as np

    alone = np.zeros(SIZE, bool)
    for first, last in _ALONE:
        alone[first : last + 1] = True
    seconds = _joining()
    entries = np.zeros(SIZE, np.uint32)
    for code in range(SIZE):
        character = chr(code)
        lower = character.lower()
        kind = unicodedata.category(character)
        hard = len(lower) != 1 or code in seconds or unicodedata.combining(character) != 0
        hard = hard or unicodedata.normalize("NFKC", character) != character
        entry = code if hard else ord(lower)
        entry |= (WORD if kind[0] in "LMN" else 0) | (DIGIT if kind[0] == "N" else 0) | (HARD if hard else 0)
        entry |= (SPACE if character.isspace() else 0) | (ALONE if alone[code] else 0)
        entries[code] = entry
    return entries


def _joining() -> set[int]:
    """Characters that may become one with the character before them, or look at it."""
    found = {_FINAL_SIGMA, *_HANGUL_VOWELS_AND_FINALS}
    for code in range(SIZE):
        parts = unicodedata.decomposition(chr(code)).split()
        if len(parts) == 2 and not parts[0].startswith("<"):
            found.add(int(parts[1], 16))
    return found

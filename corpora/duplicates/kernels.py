"""From texts to shingles, keys and signatures: the loops over every character, compiled.

Imports numba when it is imported. Integers only, so that every machine gives the same bits. A 64-bit hash is taken
for the word or the shingle that it stands for; whether two texts are equal is asked of 128 bits.
"""

from typing import Any

import numpy as np
from numba import njit, uint8, uint32, uint64  # noqa: TID253

from corpora.duplicates.folding import (
    ALONE,
    CODE_POINT,
    DIGIT,
    HARD,
    IDEOGRAPHS_FROM,
    IDEOGRAPHS_TO,
    SIZE,
    SPACE,
    WORD,
)

Array = np.ndarray[Any, Any]

_FNV_BASIS, _FNV_PRIME = uint64(0xCBF29CE484222325), uint64(0x100000001B3)  # Fowler, Noll and Vo's hash of 64 bits
_MIX_1, _MIX_2 = uint64(0xFF51AFD7ED558CCD), uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's finaliser
_ODD_1, _ODD_2 = uint64(0x9E3779B97F4A7C15), uint64(0xD6E8FEB86659FD93)
_ONE = uint64(1)
_TAG = uint64(1 << 32)
_WORD_OR_ALONE = uint32(WORD | ALONE)
_LARGEST = uint32(0xFFFFFFFF)


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def mixed(value):  # type: ignore[no-untyped-def]
    """MurmurHash3's finaliser: each bit of the result depends on every bit."""
    value ^= value >> uint64(33)
    value *= _MIX_1
    value ^= value >> uint64(33)
    value *= _MIX_2
    return value ^ (value >> uint64(33))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _turned(value, bits):  # type: ignore[no-untyped-def]
    return (value << uint64(bits)) | (value >> uint64(64 - bits))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _joined(one, two, token):  # type: ignore[no-untyped-def]
    return _turned(one ^ token, 31) * _MIX_1, _turned(two ^ (token * _ODD_2), 27) * _MIX_2


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def _next(data, at, end, table):  # type: ignore[no-untyped-def]
    """What `folding.table` says of the character at `at` of UTF-8 text, and where the next one begins."""
    lead = data[at]
    at += _ONE
    if lead < 0x80:
        return table[lead], at
    code = uint32(lead) & (uint32(0x1F) if lead < 0xE0 else (uint32(0x0F) if lead < 0xF0 else uint32(0x07)))
    while at < end and data[at] & 0xC0 == 0x80:
        code = uint32(code << uint32(6)) | uint32(data[at] & 0x3F)
        at += _ONE
    if code < SIZE:
        return table[code], at
    if IDEOGRAPHS_FROM <= code < IDEOGRAPHS_TO:
        return uint32(code | WORD | ALONE | HARD), at
    return uint32(code | HARD), at


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def hard(data: Array, offsets: Array, table: Array) -> Array:
    """Whether each text, data[offsets[i]:offsets[i + 1]], holds a character that `table` cannot fold alone."""
    found = np.zeros(len(offsets) - 1, np.bool_)
    for text in range(len(offsets) - 1):
        at, end = uint64(offsets[text]), uint64(offsets[text + 1])
        seen = uint8(0)
        for byte in data[at:end]:
            seen |= byte
        if seen < 0x80:
            continue
        while at < end and not found[text]:
            entry, at = _next(data, at, end, table)
            found[text] = entry & HARD != 0
    return found


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def words(
    data: Array, offsets: Array, tags: Array, parts_of: Array, rows: Array, parts: int, table: Array
) -> tuple[Array, Array, Array, Array]:
    found = np.empty((offsets[-1] - offsets[0]) // 2 + len(offsets), np.uint64)
    starts = np.zeros((len(rows) - 1) * parts + 1, np.int64)
    keys = np.zeros(((len(rows) - 1) * parts, 2), np.uint64)
    numbers = np.zeros((len(rows) - 1) * parts, np.uint64)
    made = 0
    for row in range(len(rows) - 1):
        for part in range(parts):
            one, two, number = _ODD_1, _ODD_2, uint64(0)
            for text in range(rows[row], rows[row + 1]):
                if parts_of[text] != part:
                    continue
                one, two = _joined(one, two, uint64(tags[text]) | _TAG)
                at, end = uint64(offsets[text]), uint64(offsets[text + 1])
                while at < end:
                    entry, at = _next(data, at, end, table)
                    if not entry & WORD:
                        if not entry & SPACE:
                            one, two = _joined(one, two, uint64(entry & CODE_POINT))
                        continue
                    word, kinds = (_FNV_BASIS ^ uint64(entry & CODE_POINT)) * _FNV_PRIME, entry
                    while at < end and not kinds & ALONE:
                        entry, after = _next(data, at, end, table)
                        if entry & _WORD_OR_ALONE != WORD:
                            break
                        word, kinds, at = (word ^ uint64(entry & CODE_POINT)) * _FNV_PRIME, kinds | entry, after
                    word = mixed(word)
                    one, two = _joined(one, two, word)
                    if kinds & DIGIT:
                        number = (_turned(number, 29) ^ word) * _ODD_2
                    found[made] = word
                    made += 1
            place = row * parts + part
            keys[place, 0], keys[place, 1], numbers[place] = mixed(one), mixed(two), number
            starts[place + 1] = made
    return found[:made], starts, keys, numbers


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def shingles(found: Array, begins: Array, length: int) -> tuple[Array, Array]:
    """Hash of every run of `length` words inside a part (uint64), and where those of each part begin (int64)."""
    runs = np.empty(len(found), np.uint64)
    starts = np.zeros(len(begins), np.int64)
    leaving = uint64(1)
    for _ in range(length):
        leaving *= _ODD_1
    made = 0
    for part in range(len(begins) - 1):
        rolling = uint64(0)
        for at in range(begins[part], begins[part + 1]):
            rolling = rolling * _ODD_1 + found[at]
            if at - begins[part] >= length:
                rolling -= found[at - length] * leaving
            if at - begins[part] >= length - 1:
                runs[made] = mixed(rolling)
                made += 1
        starts[part + 1] = made
    return runs[:made], starts


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def signatures(runs: Array, starts: Array, sizes: Array, factors: Array, terms: Array) -> Array:
    """MinHash of each part (uint32; parts, permutations): the least of factor × x + term modulo 2³² over its shingles.

    sizes: permutations wanted of each part; the others stay as they come. factors are odd, x is the upper half of
    a shingle's hash. Four shingles at a time, which keeps the vector units busy: 6 instead of 14 ns a shingle.
    """
    least = np.empty((len(starts) - 1, len(factors)), np.uint32)
    for part in range(len(starts) - 1):
        size = sizes[part]
        mins = least[part]
        mins[:size] = _LARGEST
        end = starts[part + 1]
        for at in range(starts[part], end, 4):
            a = uint32(runs[at] >> uint64(32))
            b = uint32(runs[min(at + 1, end - 1)] >> uint64(32))
            c = uint32(runs[min(at + 2, end - 1)] >> uint64(32))
            d = uint32(runs[min(at + 3, end - 1)] >> uint64(32))
            for j in range(size):
                factor, term = factors[j], terms[j]
                one = min(uint32(factor * a + term), uint32(factor * b + term))
                two = min(uint32(factor * c + term), uint32(factor * d + term))
                mins[j] = min(mins[j], min(one, two))
    return least

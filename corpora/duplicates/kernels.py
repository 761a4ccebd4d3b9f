"""From texts to words, shingles and keys: the loops over every character, compiled.

Imports numba when it is imported. Integers only, so that every machine gives the same bits. A 64-bit hash is taken
for the word or the shingle that it stands for.
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

_ONE = uint64(1)
_FNV_BASIS, _FNV_PRIME = uint64(0xCBF29CE484222325), uint64(0x100000001B3)  # Fowler, Noll and Vo's hash of 64 bits
_MIX_1, _MIX_2 = uint64(0xFF51AFD7ED558CCD), uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's finaliser
_ODD_1, _ODD_2 = uint64(0x9E3779B97F4A7C15), uint64(0xD6E8FEB86659FD93)
_ROLE = uint64(1 << 32)
_WORD_OR_ALONE = uint32(WORD | ALONE)


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def mixed(value):  # type: ignore[no-untyped-def]
    """MurmurHash3's finaliser: each bit of the result depends on every bit."""
    value ^= value >> uint64(33)
    value *= _MIX_1
    value ^= value >> uint64(33)
    value *= _MIX_2
    return value ^ (value >> uint64(33))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def turned(value, bits):  # type: ignore[no-untyped-def]
    return (value << uint64(bits)) | (value >> uint64(64 - bits))


@njit(cache=True, nogil=True, inline="always")  # type: ignore[untyped-decorator]
def joined(one, two, token):  # type: ignore[no-untyped-def]
    """Two 64-bit hashes of a sequence, one token longer."""
    return turned(one ^ token, 31) * _MIX_1, turned(two ^ (token * _ODD_2), 27) * _MIX_2


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
    data: Array, offsets: Array, roles: Array, parts_of: Array, rows: Array, parts: int, table: Array
) -> tuple[Array, Array, Array, Array]:
    """Words of each part of each row, and what tells the parts apart exactly.

    Text i, data[offsets[i]:offsets[i + 1]] in UTF-8, is of part parts_of[i] and said by roles[i]; row r has the
    texts rows[r] to rows[r + 1]. Returns, part after part and row after row,
      - hashes of the words (uint64), and where those of each part begin (int64; rows × parts + 1),
      - 128 bits of its roles, words and other characters but white space (uint64; rows × parts, 2),
      - 64 bits of its words that hold a digit (uint64; rows × parts).
    """
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
                one, two = joined(one, two, uint64(roles[text]) | _ROLE)
                at, end = uint64(offsets[text]), uint64(offsets[text + 1])
                while at < end:
                    entry, at = _next(data, at, end, table)
                    if not entry & WORD:
                        if not entry & SPACE:
                            one, two = joined(one, two, uint64(entry & CODE_POINT))
                        continue
                    word, kinds = (_FNV_BASIS ^ uint64(entry & CODE_POINT)) * _FNV_PRIME, entry
                    while at < end and not kinds & ALONE:
                        entry, after = _next(data, at, end, table)
                        if entry & _WORD_OR_ALONE != WORD:
                            break
                        word, kinds, at = (word ^ uint64(entry & CODE_POINT)) * _FNV_PRIME, kinds | entry, after
                    word = mixed(word)
                    one, two = joined(one, two, word)
                    if kinds & DIGIT:
                        number = (turned(number, 29) ^ word) * _ODD_2
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
    leaving = _ONE
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
def row_keys(
    keys: Array, numbers: Array, starts: Array, fixed: Array, parts: int, least: int, needed: int, by_number: bool
) -> tuple[Array, Array, Array]:
    """What must be equal of rows, from the keys, numbers and shingle starts of their parts.

    fixed: 64 bits of what is no text of a row (uint64; rows). A part of `least` shingles or more is long. Returns
      - 128 bits of the whole row (uint64; rows, 2),
      - 64 bits that near duplicates have in common: short parts and, `by_number`, all numbers (uint64; rows);
        0 if part `needed` is short, so that the row has no near duplicates,
      - whether each part is long (bool; rows × parts).
    """
    whole = np.empty((len(fixed), 2), np.uint64)
    common = np.zeros(len(fixed), np.uint64)
    long = np.zeros(len(fixed) * parts, np.bool_)
    for row in range(len(fixed)):
        one, two, shared = fixed[row], mixed(fixed[row]), fixed[row]
        for part in range(row * parts, (row + 1) * parts):
            one, two = joined(one, two, keys[part, 0])
            one, two = joined(one, two, keys[part, 1])
            long[part] = starts[part + 1] - starts[part] >= least
            if not long[part]:
                shared, _ = joined(joined(shared, two, keys[part, 0])[0], two, keys[part, 1])
            elif by_number:
                shared, _ = joined(shared, two, numbers[part] + _ONE)
            else:
                shared, _ = joined(shared, two, _ONE)
        whole[row, 0], whole[row, 1] = mixed(one), mixed(two)
        if long[row * parts + needed]:
            common[row] = max(mixed(shared), _ONE)
    return whole, common, long

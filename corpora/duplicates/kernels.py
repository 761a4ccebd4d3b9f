"""From texts to words, shingles and keys: the loops over every character, compiled.

Imports numba when it is imported. Integers only, so that every machine gives the same bits. A hash is taken for the
word (64 bits) or the shingle (32 bits) that it stands for. Texts are folded into bytes first; then what was ASCII and
what was not goes the same way. Byte by byte there is no branch to guess wrong, and a word is read eight bytes at a
time: 1.4 µs for 100 words of ASCII, where a loop over characters takes 2.5.
"""

from typing import Any

import numpy as np
from numba import uint8, uint32, uint64  # noqa: TID253

from corpora.duplicates.compiling import Array, compiled, inlined
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

_ONE, _EIGHT = uint64(1), uint64(8)
_MIX_1, _MIX_2 = uint64(0xFF51AFD7ED558CCD), uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's finaliser
_ODD_1, _ODD_2 = uint64(0x9E3779B97F4A7C15), uint64(0xD6E8FEB86659FD93)
_ROLE = uint64(1 << 32)

_SPACE, _WORD, _SYMBOL, _DIGIT = uint8(0), uint8(1), uint8(2), uint8(4)
_DIGITS = uint64(0x0404040404040404)
_FIRST_BYTES = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)
_PADDING = 16


@inlined
def mixed(value: Any) -> Any:
    """MurmurHash3's finaliser: each bit of the result depends on every bit."""
    value ^= value >> uint64(33)
    value *= _MIX_1
    value ^= value >> uint64(33)
    value *= _MIX_2
    return value ^ (value >> uint64(33))


@inlined
def _turned(value: Any, bits: int) -> Any:
    return (value << uint64(bits)) | (value >> uint64(64 - bits))


@inlined
def joined(one: Any, two: Any, token: Any) -> Any:
    """Two 64-bit hashes of a sequence, one token longer."""
    return _turned(one ^ token, 31) * _MIX_1, _turned(two + token, 27) * _MIX_2


@inlined
def _eight(data: Array, at: Any) -> Any:
    """Eight bytes as one number; compilers make one load of it."""
    low = uint64(data[at]) | uint64(data[at + uint64(1)]) << uint64(8)
    low |= uint64(data[at + uint64(2)]) << uint64(16) | uint64(data[at + uint64(3)]) << uint64(24)
    high = uint64(data[at + uint64(4)]) << uint64(32) | uint64(data[at + uint64(5)]) << uint64(40)
    return low | high | uint64(data[at + uint64(6)]) << uint64(48) | uint64(data[at + uint64(7)]) << uint64(56)


@compiled
def _next(data: Array, at: Any, end: Any, table: Array) -> Any:
    """What `folding.table` says of the character at `at` of UTF-8 text, and where the next one begins."""
    lead = data[at]
    at += _ONE
    code = uint32(lead)
    if lead >= 0xC0:
        code &= uint32(0x1F) if lead < 0xE0 else (uint32(0x0F) if lead < 0xF0 else uint32(0x07))
    while at < end and data[at] & 0xC0 == 0x80:
        code = uint32(code << uint32(6)) | uint32(data[at] & 0x3F)
        at += _ONE
    if code < SIZE:
        return table[code], at
    if IDEOGRAPHS_FROM <= code < IDEOGRAPHS_TO:
        return uint32(code | WORD | ALONE | HARD), at
    return uint32(code | HARD), at


@inlined
def _is_ascii(data: Array, at: Any, end: Any) -> Any:
    seen = uint8(0)
    for byte in data[at:end]:
        seen |= byte
    return seen < 0x80


@compiled
def hard(data: Array, offsets: Array, table: Array) -> Array:
    """Whether each text, data[offsets[i]:offsets[i + 1]], holds a character that `table` cannot fold alone."""
    found = np.zeros(len(offsets) - 1, np.bool_)
    for text in range(len(offsets) - 1):
        at, end = uint64(offsets[text]), uint64(offsets[text + 1])
        if not _is_ascii(data, at, end):
            while at < end and not found[text]:
                entry, at = _next(data, at, end, table)
                found[text] = entry & HARD != 0
    return found


@compiled
def _fold_ascii(data: Array, at: Any, end: Any, made: Any, folded: Array, kinds: Array, begins: Array) -> Any:
    for place in range(end - at):
        byte = data[at + place]
        lower = uint8(byte | uint8(32))
        letter, digit = uint8(lower - uint8(97)) < uint8(26), uint8(byte - uint8(48)) < uint8(10)
        space = (uint8(byte - uint8(9)) < uint8(5)) | (uint8(byte - uint8(28)) < uint8(5))
        kind = uint8(5) if digit else (uint8(0) if space else uint8(2))
        folded[made + place] = lower if letter else byte
        kinds[made + place] = uint8(1) if letter else kind
    for place in range(made + _ONE, made + end - at):
        kind = kinds[place]
        begins[place] = ((kind ^ kinds[place - _ONE]) & uint8(3) != uint8(0)) | (kind == uint8(2))
    return made + end - at


@compiled
def _fold_any(
    data: Array, at: Any, end: Any, made: Any, folded: Array, kinds: Array, begins: Array, table: Array
) -> Any:
    before = _SPACE
    while at < end:
        entry, at = _next(data, at, end, table)
        code, first = uint32(entry & CODE_POINT), made
        if code < 0x80:
            folded[made] = code
            made += _ONE
        else:
            more = uint32(1) if code < 0x800 else (uint32(2) if code < 0x10000 else uint32(3))
            folded[made] = uint8((uint32(0xF00) >> more) | (code >> (uint32(6) * more)))
            made += _ONE
            while more:
                more -= uint32(1)
                folded[made] = uint8(uint32(0x80) | (code >> (uint32(6) * more)) & uint32(0x3F))
                made += _ONE
        kind = _WORD if entry & WORD else (_SPACE if entry & SPACE else _SYMBOL)
        begins[first] = kind != before & uint8(3) or kind == _SYMBOL or entry & ALONE != 0
        kinds[first:made] = kind | _DIGIT if entry & DIGIT else kind
        begins[first + _ONE : made] = 0
        before = uint8(8) if entry & ALONE else kind
    return made


@compiled
def fold(data: Array, offsets: Array, order: Array, table: Array) -> tuple[Array, Array, Array, Array]:
    """The texts data[offsets[i]:offsets[i + 1]] for i of `order`, folded, one behind the other.

    Returns the bytes and the kind of each (uint8, padded), where texts begin, and where words, other characters and
    runs of white space begin (int64; each with the end behind the last).
    """
    size = 0
    for text in order:
        size += offsets[text + 1] - offsets[text]
    size += size // 2  # a lower-case letter may take three bytes for two
    folded, kinds = np.empty(size + _PADDING, np.uint8), np.empty(size + _PADDING, np.uint8)
    begins = np.empty(size, np.uint8)
    texts = np.zeros(len(order) + 1, np.int64)
    made = uint64(0)
    for place in range(len(order)):
        at, end = uint64(offsets[order[place]]), uint64(offsets[order[place] + 1])
        first = made
        if _is_ascii(data, at, end):
            made = _fold_ascii(data, at, end, made, folded, kinds, begins)
        else:
            made = _fold_any(data, at, end, made, folded, kinds, begins, table)
        if made > first:
            begins[first] = 1
        texts[place + 1] = made
    pieces = np.empty(made + _ONE, np.int64)
    count = 0
    for at in range(made):
        pieces[count] = at
        count += begins[at]
    pieces[count] = made
    return folded, kinds, texts, pieces[: count + 1]


@compiled
def words(
    folded: Array, kinds: Array, texts: Array, pieces: Array, roles: Array, parts: Array
) -> tuple[Array, Array, Array, Array]:
    """Words of each part, and what tells parts apart exactly, from what `fold` returns.

    roles: a number for each text. parts: part p has the texts parts[p] to parts[p + 1]. Returns
      - hashes of the words (uint64), and where those of each part begin (int64; parts + 1),
      - 128 bits of its roles, words and other characters but white space (uint64; parts, 2),
      - 64 bits of its words that hold a digit (uint64; parts).
    """
    found = np.empty(len(pieces), np.uint64)
    starts = np.zeros(len(parts), np.int64)
    keys = np.empty((len(parts) - 1, 2), np.uint64)
    numbers = np.zeros(len(parts) - 1, np.uint64)
    made = piece = 0
    for part in range(len(parts) - 1):
        one, two, number = _ODD_1, _ODD_2, uint64(0)
        for text in range(parts[part], parts[part + 1]):
            one, two = joined(one, two, uint64(roles[text]) | _ROLE)
            while pieces[piece] < texts[text + 1]:
                at, end = uint64(pieces[piece]), uint64(pieces[piece + 1])
                piece += 1
                kind = kinds[at]
                if kind == _SPACE:
                    continue
                wanted = _FIRST_BYTES[min(end - at, _EIGHT)]
                token = (_eight(folded, at) & wanted) * _ODD_1 ^ (end - at)
                digits = _eight(kinds, at) & wanted
                at += _EIGHT
                while at < end:
                    wanted = _FIRST_BYTES[min(end - at, _EIGHT)]
                    token = _turned(token, 29) * _MIX_2 ^ (_eight(folded, at) & wanted) * _ODD_1
                    digits |= _eight(kinds, at) & wanted
                    at += _EIGHT
                token = (token ^ (token >> uint64(32))) * _ODD_2
                token ^= token >> uint64(29)
                one, two = joined(one, two, token)
                if kind & _WORD:
                    found[made] = token
                    made += 1
                    if digits & _DIGITS:
                        number = (_turned(number, 29) ^ token) * _ODD_2
        keys[part, 0], keys[part, 1], numbers[part] = mixed(one), mixed(two), number
        starts[part + 1] = made
    return found[:made], starts, keys, numbers


@compiled
def shingles(found: Array, begins: Array, length: int) -> tuple[Array, Array]:
    """Hash of every run of `length` words inside a part (uint32), and where those of each part begin (int64).

    Multilinear: the upper half of a sum of hashes of words, each times an odd number of its place.
    """
    runs = np.empty(len(found), np.uint32)
    starts = np.zeros(len(begins), np.int64)
    factors = np.empty(length, np.uint64)
    factors[0] = _MIX_1
    for place in range(1, length):
        factors[place] = factors[place - 1] * _ODD_1
    made = 0
    for part in range(len(begins) - 1):
        for at in range(begins[part], begins[part + 1] - length + 1):
            run = uint64(0)
            for place in range(length):
                run += found[at + place] * factors[place]
            runs[made] = uint32(run >> uint64(32))
            made += 1
        starts[part + 1] = made
    return runs[:made], starts


@compiled
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
        one, two, shared, other = fixed[row], mixed(fixed[row]), fixed[row], _ODD_1
        for part in range(row * parts, (row + 1) * parts):
            one, two = joined(one, two, keys[part, 0])
            one, two = joined(one, two, keys[part, 1])
            long[part] = starts[part + 1] - starts[part] >= least
            if not long[part]:
                shared, other = joined(shared, other, keys[part, 0])
                shared, other = joined(shared, other, keys[part, 1])
            elif by_number:
                shared, other = joined(shared, other, numbers[part])
            shared, other = joined(shared, other, uint64(long[part]))
        whole[row, 0], whole[row, 1] = mixed(one), mixed(two)
        if long[row * parts + needed]:
            common[row] = max(mixed(shared ^ mixed(other)), _ONE)
    return whole, common, long

"""From folded texts to words, shingles and keys: what a row says, in numbers.

Imports numba when it is imported. Integers only, so that every machine gives the same bits. A hash is taken for the
word (64 bits) or the shingle (32 bits) that it stands for. Words are read eight bytes at a time: 1 µs for 100 of them.
"""

from typing import Any

import numpy as np
from numba import uint32, uint64  # noqa: TID253

from corpora.words.compiling import Array, compiled, eight_bytes, inlined, mixed
from corpora.words.kernels import DIGIT_KIND, SPACE_KIND, WORD_KIND

_ONE, _EIGHT = uint64(1), uint64(8)
_MIX_1, _MIX_2 = uint64(0xFF51AFD7ED558CCD), uint64(0xC4CEB9FE1A85EC53)  # MurmurHash3's
_ODD_1, _ODD_2 = uint64(0x9E3779B97F4A7C15), uint64(0xD6E8FEB86659FD93)
_INVERSE_1 = uint64(pow(0x9E3779B97F4A7C15, -1, 1 << 64))
_ROLE, _HALF = uint64(1 << 32), uint64(32)

_DIGITS = uint64(DIGIT_KIND) * uint64(0x0101010101010101)
_FIRST_BYTES = np.array([(1 << (8 * count)) - 1 for count in range(9)], np.uint64)


@inlined
def _turned(value: Any, bits: int) -> Any:
    return (value << uint64(bits)) | (value >> uint64(64 - bits))


@inlined
def joined(one: Any, two: Any, token: Any) -> Any:
    """Two 64-bit hashes of a sequence, one token longer."""
    return _turned(one ^ token, 31) * _MIX_1, _turned(two + token, 27) * _MIX_2


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
    made = piece = uint64(0)
    for part in range(len(parts) - 1):
        one, two, number = _ODD_1, _ODD_2, uint64(0)
        for text in range(parts[part], parts[part + 1]):
            one, two = joined(one, two, uint64(roles[text]) | _ROLE)
            at, behind = uint64(pieces[piece]), uint64(texts[text + 1])
            while at < behind:
                piece += _ONE
                begin, end = at, uint64(pieces[piece])
                at = end
                kind = kinds[begin]
                if kind == SPACE_KIND:
                    continue
                wanted = _FIRST_BYTES[min(end - begin, _EIGHT)]
                token = (eight_bytes(folded, begin) & wanted) * _ODD_1 ^ (end - begin)
                digits = eight_bytes(kinds, begin) & wanted
                begin += _EIGHT
                while begin < end:
                    wanted = _FIRST_BYTES[min(end - begin, _EIGHT)]
                    token = _turned(token, 29) * _MIX_2 ^ (eight_bytes(folded, begin) & wanted) * _ODD_1
                    digits |= eight_bytes(kinds, begin) & wanted
                    begin += _EIGHT
                token = (token ^ (token >> uint64(32))) * _ODD_2
                token ^= token >> uint64(29)
                one, two = joined(one, two, token)
                if kind & WORD_KIND:
                    found[made] = token
                    made += _ONE
                    if digits & _DIGITS:
                        number = (_turned(number, 29) ^ token) * _ODD_2
        keys[part, 0], keys[part, 1], numbers[part] = mixed(one), mixed(two), number
        starts[part + 1] = made
    return found[:made], starts, keys, numbers


@compiled
def shingles(found: Array, begins: Array, length: int) -> tuple[Array, Array]:
    """Hash of every run of `length` words inside a part (uint32), and where those of each part begin (int64).

    Multilinear: the upper half of a sum of hashes of words, each times an odd number of its place. These numbers are
    powers of one, so that a run's sum follows from that of the run before it.
    """
    runs = np.empty(len(found), np.uint32)
    starts = np.zeros(len(begins), np.int64)
    last = _ONE
    for _ in range(length - 1):
        last *= _ODD_1
    made = uint64(0)
    for part in range(len(begins) - 1):
        first, end = uint64(begins[part]), uint64(begins[part + 1])
        behind = first + uint64(length)
        if behind <= end:
            run = uint64(0)
            for place in range(length):
                run = run * _ODD_1 + found[behind - uint64(place + 1)]
            runs[made] = uint32((run * _MIX_1) >> _HALF)
            made += _ONE
            for at in range(behind, end):
                run = (run - found[at - uint64(length)]) * _INVERSE_1 + found[at] * last
                runs[made] = uint32((run * _MIX_1) >> _HALF)
                made += _ONE
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

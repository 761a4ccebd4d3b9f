"""Rows whose hashes are equal, found among many without holding all hashes. Imports numba when it is imported.

Two passes over the hashes. The first marks, in a table of bits, what it has met and what it has met twice; the second
keeps the hashes that may have been met twice, which are few. Memory: 4 to 8 bytes a row and what is kept.
"""

import numpy as np
from numba import uint64  # noqa: TID253

from corpora.words.compiling import Array, compiled

_SLOTS_PER_ROW = 16


def tables_for(rows: int) -> tuple[Array, Array]:
    """Bits for what was met, and for what was met twice: 16 to 32 of each a row."""
    words = 1 << max(0, (rows * _SLOTS_PER_ROW // 64 - 1).bit_length())
    return np.zeros(words, np.uint64), np.zeros(words, np.uint64)


@compiled
def mark(hashes: Array, met: Array, twice: Array) -> None:
    """Note the hashes that are not 0."""
    mask = uint64(len(met) - 1)
    for value in hashes:
        if value:
            word, bit = (value >> uint64(6)) & mask, uint64(1) << (value & uint64(63))
            twice[word] |= met[word] & bit
            met[word] |= bit


@compiled
def repeated(hashes: Array, twice: Array) -> Array:
    """Where the hashes stand that may have been met twice (int64)."""
    mask = uint64(len(twice) - 1)
    found = np.empty(len(hashes), np.int64)
    made = 0
    for at in range(len(hashes)):
        value = hashes[at]
        if value and twice[(value >> uint64(6)) & mask] >> (value & uint64(63)) & uint64(1):
            found[made] = at
            made += 1
    return found[:made].copy()


@compiled
def pairs(hashes: Array, rows: Array, reach: int) -> Array:
    """Pairs of rows with equal hashes (uint64: the earlier row in the upper half), each with `reach` before it.

    hashes are in order; rows with equal hashes too.
    """
    size = 0
    begin = 0
    for at in range(len(hashes)):
        if hashes[at] != hashes[begin]:
            begin = at
        size += min(at - begin, reach)
    found = np.empty(size, np.uint64)
    made = begin = 0
    for at in range(len(hashes)):
        if hashes[at] != hashes[begin]:
            begin = at
        for before in range(max(begin, at - reach), at):
            found[made] = (uint64(rows[before]) << uint64(32)) | uint64(rows[at])
            made += 1
    return found

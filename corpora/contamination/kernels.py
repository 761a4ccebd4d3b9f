"""The two loops over every character and every word, compiled. Importing this module imports numba.

Integers only, so that every machine gives the same hashes.
"""

from typing import Any

import numpy as np
from numba import uint64  # noqa: TID253

from corpora.words.compiling import Array, compiled, inlined, mixed

PART, LETTER, ALONE, SIGN = range(4)
"""Kinds of characters: parts words; is in one with its neighbours; is one itself; is one if a digit follows."""

_BASIS, _PRIME = uint64(0xCBF29CE484222325), uint64(0x100000001B3)  # Fowler, Noll and Vo's hash of 64 bits


@inlined
def _digit_follows(codes: Array, at: Any, end: Any) -> Any:
    """At once or behind one space."""
    at += 1
    if at < end and codes[at] == 32:
        at += 1
    return at < end and 48 <= codes[at] <= 57


@compiled
def words(codes: Array, bounds: Array, kinds: Array) -> tuple[Array, Array, Array, Array]:
    """The words of texts: hash, number of the text, first character in it and the one behind the last.

    codes: characters of all texts (uint32), text i from bounds[i] to bounds[i + 1]. kinds: of every character.
    """
    room = len(codes)
    hashes, part = np.empty(room, np.uint64), np.empty(room, np.int64)
    start, stop = np.empty(room, np.int64), np.empty(room, np.int64)
    count = 0
    for text in range(len(bounds) - 1):
        first, end = bounds[text], bounds[text + 1]
        at = first
        while at < end:
            kind = kinds[codes[at]]
            begin = at
            at += 1
            if kind == PART or (kind == SIGN and not _digit_follows(codes, begin, end)):
                continue
            value = (_BASIS ^ uint64(codes[begin])) * _PRIME
            if kind == LETTER:
                while at < end and kinds[codes[at]] == LETTER:
                    value = (value ^ uint64(codes[at])) * _PRIME
                    at += 1
            hashes[count], part[count] = mixed(value), text
            start[count], stop[count] = begin - first, at - first
            count += 1
    return hashes[:count].copy(), part[:count].copy(), start[:count].copy(), stop[:count].copy()


@compiled
def runs(hashes: Array, size: int, factors: Array) -> Array:
    """A hash of each run of `size` words: the sum of word × factor of its place, mixed."""
    found = np.empty(max(0, len(hashes) - size + 1), np.uint64)
    for at in range(len(found)):
        total = uint64(size)
        for place in range(size):
            total += hashes[at + place] * factors[place]
        found[at] = mixed(total)
    return found


@compiled
def known(hashes: Array, part: Array, size: int, factors: Array, seen: Array, bits: int) -> tuple[Array, Array]:
    """Runs of `size` words of one text whose hash begins with `bits` bits that are marked in `seen`: place and hash."""
    room = max(0, len(hashes) - size + 1)
    places, found = np.empty(room, np.int64), np.empty(room, np.uint64)
    shift, count = uint64(64 - bits), 0
    for at in range(room):
        if part[at] != part[at + size - 1]:
            continue
        total = uint64(size)
        for place in range(size):
            total += hashes[at + place] * factors[place]
        total = mixed(total)
        if seen[total >> shift]:
            places[count], found[count] = at, total
            count += 1
    return places[:count].copy(), found[:count].copy()

"""The two inner loops of a mixture, compiled by numba: keyed permutation, and largest deficit next.

Plain arrays in and out; what they mean is said in `permutation` and `scheduler`, which import this module inside
functions, because it imports numba.
"""

import math
from typing import Any

import numpy as np

from corpora.words.compiling import compiled

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_HALF_WORD = np.uint64(32)


@compiled
def permute(start: int, stop: int, size: int, half_bits: int, round_keys: Any) -> Any:
    """Elements at places start … stop−1 of the permutation of 0 … size−1 with these round keys (uint64)."""
    half, mask, beyond = np.uint64(half_bits), np.uint64((1 << half_bits) - 1), np.uint64(size)
    found = np.empty(stop - start, np.int64)
    for place in range(start, stop):
        value = np.uint64(place)
        while True:
            left, right = value >> half, value & mask
            for key in round_keys:
                mixed = (right ^ key) * _MULTIPLIER
                mixed ^= mixed >> _HALF_WORD
                mixed *= _MULTIPLIER
                left, right = right, left ^ ((mixed >> _HALF_WORD) & mask)
            value = (left << half) | right
            if value < beyond:
                break
        found[place - start] = np.int64(value)
    return found


@compiled
def pick(
    group_weights: Any,
    first_of_group: Any,
    weights: Any,
    group_emitted: Any,
    emitted: Any,
    left: Any,
    waiting: Any,
    at: Any,
    filled: Any,
    picked: Any,
) -> int:
    """Write the sources that come next into `picked` and return how many; all counters move on in place.

    Ends when `picked` is full, when every source has given all its rows, or when the source that comes next has
    no row waiting. Sources are numbered group after group, `first_of_group` (one longer than the groups) says
    where each begins. left: rows still to give by source. waiting: units of the next rows, one line a source;
    `at` and `filled` are the places in it of the next row and of its end.
    """
    total = 0
    for group in range(len(group_weights)):
        total += group_emitted[group]
    for done in range(len(picked)):
        source, chosen, most = -1, -1, -math.inf
        for group in range(len(group_weights)):
            deficit = group_weights[group] * total - group_emitted[group]
            if deficit > most:
                inner, furthest = -1, -math.inf
                for member in range(first_of_group[group], first_of_group[group + 1]):
                    behind = weights[member] * group_emitted[group] - emitted[member]
                    if left[member] > 0 and behind > furthest:
                        inner, furthest = member, behind
                if inner >= 0:
                    source, chosen, most = inner, group, deficit
        if source < 0 or at[source] == filled[source]:
            return done
        units = waiting[source, at[source]]
        at[source] += 1
        left[source] -= 1
        emitted[source] += units
        group_emitted[chosen] += units
        total += units
        picked[done] = source
    return len(picked)

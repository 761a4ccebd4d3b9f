"""MinHash signatures in bands (Broder 1997; Leskovec, Rajaraman and Ullman, chapter 3), and exact Jaccard similarity.

Imports numba when it is imported. The permutations are x → factor × x + term modulo 2³², which the vector units do
eight at a time; what they miss of randomness shows in no measured recall, and candidates are verified anyway. rensa
0.5 would sign as well, 450,000 documents of 100 shingles a second against 1.7 million here, but hands its signatures
out as lists of Python numbers only, of 70,000 documents a second.
"""

from functools import cache
from typing import Any

import numpy as np
from numba import uint32, uint64  # noqa: TID253

from corpora.words.compiling import Array, compiled, mixed
from lineage.hashing import text_digest

_LARGEST = uint32(0xFFFFFFFF)
_ONE = uint64(1)
_GOLDEN = uint64(0x9E3779B97F4A7C15)
_LANES = 32
_TARGET = 0.97

HEAD = 5
"""Numbers before the shingles of a record: two of what near duplicates have in common, and the sizes of three parts."""


@cache
def bands_of(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows a band: the longest bands that find a pair at the threshold with a chance of 97 % or more.

    A pair of similarity s shares a band of r rows with chance s^r. Longer bands give fewer candidates.
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= _TARGET:
            return bands, rows
    return permutations, 1


@cache
def permutations_of(count: int, seed: int) -> tuple[Array, Array]:
    """Factors (odd) and terms, uint32."""
    drawn = _drawn(np.uint64(int(text_digest(f"minhash/{seed}")[:16], 16)), count)
    return (drawn >> np.uint64(32)).astype(np.uint32) | np.uint32(1), drawn.astype(np.uint32)


@compiled
def _drawn(state: Any, count: int) -> Array:
    """Numbers that look random (uint64): SplitMix64 (Steele, Lea and Flood 2014), the same in every version."""
    numbers = np.empty(count, np.uint64)
    for place in range(count):
        state += _GOLDEN
        numbers[place] = mixed(state)
    return numbers


@compiled
def sizes_of(long: Array, common: Array, parts: int, bands: int, rows: int) -> Array:
    """How many permutations each part needs (int64; rows × parts): a band's rows are shared out among long parts."""
    sizes = np.zeros(len(long), np.int64)
    for row in range(len(common)):
        first = row * parts
        count = long[first : first + parts].sum()
        rank = 0
        for part in range(first, first + parts):
            if long[part] and common[row]:
                sizes[part] = bands * (rows // count + (rank < rows % count))
                rank += 1
    return sizes


@compiled
def signatures(runs: Array, starts: Array, sizes: Array, factors: Array, terms: Array) -> Array:
    """MinHash of each part's shingles (uint32; parts, permutations), of at least as many permutations as `sizes` says.

    Four shingles at a time keep the vector units busy: 6 ns a shingle for 128 permutations instead of 14.
    """
    least = np.empty((len(starts) - 1, len(factors)), np.uint32)
    for part in range(len(starts) - 1):
        size, end = min(len(factors), (sizes[part] + _LANES - 1) // _LANES * _LANES), starts[part + 1]
        mins = least[part]
        mins[:size] = _LARGEST
        for at in range(starts[part], end, 4):
            a, b = runs[at], runs[min(at + 1, end - 1)]
            c, d = runs[min(at + 2, end - 1)], runs[min(at + 3, end - 1)]
            for j in range(size):
                factor, term = factors[j], terms[j]
                one = min(uint32(factor * a + term), uint32(factor * b + term))
                two = min(uint32(factor * c + term), uint32(factor * d + term))
                mins[j] = min(mins[j], min(one, two))
    return least


@compiled
def band_hashes(least: Array, sizes: Array, common: Array, parts: int, hashes: Array) -> None:
    """Write into `hashes` (uint64; bands, rows) a hash of each band of each row: of what near duplicates have in
    common, and of its mins.

    So a pair whose parts have similarities s₁ … sₙ shares a band with chance s₁^r₁ … sₙ^rₙ: both the prompt and the
    answer must be alike. 0: the row has no near duplicates.
    """
    spread = np.empty((parts, least.shape[1]), np.uint64)
    for part in range(parts):
        for j in range(least.shape[1]):
            spread[part, j] = mixed(uint64(part * least.shape[1] + j + 1)) | _ONE
    each = np.empty(parts, np.int64)
    for row in range(len(common)):
        if not common[row]:
            hashes[:, row] = 0
            continue
        for part in range(parts):
            each[part] = sizes[row * parts + part] // len(hashes)
        for band in range(len(hashes)):
            sum_ = common[row] + uint64(band)
            for part in range(parts):
                for j in range(band * each[part], (band + 1) * each[part]):
                    sum_ += uint64(least[row * parts + part, j]) * spread[part, j]
            hashes[band, row] = max(mixed(sum_), _ONE)


@compiled
def records(runs: Array, starts: Array, long: Array, common: Array, parts: int) -> tuple[Array, Array]:
    """What verification needs of each row that may have near duplicates (uint32), and the length of each (int64)."""
    made = np.empty(len(runs) + HEAD * len(common), np.uint32)
    sizes = np.zeros(len(common), np.int64)
    end = 0
    for row in range(len(common)):
        if not common[row]:
            continue
        first = end
        made[end], made[end + 1] = uint32(common[row]), uint32(common[row] >> uint64(32))
        made[end + 2 : end + HEAD] = 0
        end += HEAD
        for part in range(parts):
            place = row * parts + part
            if long[place]:
                of_part = runs[starts[place] : starts[place + 1]]
                made[first + 2 + part] = len(of_part)
                made[end : end + len(of_part)] = of_part
                end += len(of_part)
        sizes[row] = end - first
    return made[:end], sizes


@compiled
def similarities(made: Array, places: Array, first: Array, second: Array) -> Array:
    """Of pairs of records the least Jaccard similarity of their parts (float64).

    made: records; record i begins at places[i]. first, second: numbers of records. 0 where what near duplicates have
    in common differs. 32 bits stand for a shingle: a set of a million is off by less than 0.0003.
    """
    most = 0
    for place in places:
        most = max(most, made[place + 2 : place + HEAD].max())
    slots = 16
    while slots < 4 * most:
        slots *= 2
    values, owners = np.empty(slots, np.uint32), np.empty(slots, np.uint8)
    found = np.zeros(len(first), np.float64)
    for pair in range(len(first)):
        here, there = places[first[pair]], places[second[pair]]
        if made[here] != made[there] or made[here + 1] != made[there + 1]:
            continue
        found[pair] = 1.0
        a, b = here + HEAD, there + HEAD
        for part in range(2, HEAD):
            after_a, after_b = a + made[here + part], b + made[there + part]
            if after_a > a:
                found[pair] = min(found[pair], _jaccard(made[a:after_a], made[b:after_b], values, owners))
            a, b = after_a, after_b
    return found


@compiled
def _jaccard(one: Array, other: Array, values: Array, owners: Array) -> float:
    """Of two bags taken as sets. values, owners: a hash table with room for both."""
    slots = 16
    while slots < 2 * (len(one) + len(other)):
        slots *= 2
    owners[:slots] = 0
    mask = slots - 1
    alone = both = 0
    for value in one:
        at = value & mask
        while owners[at] and values[at] != value:
            at = (at + 1) & mask
        if not owners[at]:
            values[at], owners[at] = value, 1
            alone += 1
    for value in other:
        at = value & mask
        while owners[at] and values[at] != value:
            at = (at + 1) & mask
        if not owners[at]:
            values[at], owners[at] = value, 2
            alone += 1
        elif owners[at] == 1:
            owners[at] = 3
            both += 1
    return both / alone

"""MinHash signatures and their bands (Broder 1997; Leskovec, Rajaraman and Ullman, chapter 3), and exact Jaccard.

Imports numba when it is imported. The permutations are x → factor × x + term modulo 2³², which the vector units do
eight at a time; what they miss of randomness shows in no measured recall, and candidates are verified anyway.
"""

import numpy as np
from numba import njit, uint32, uint64  # noqa: TID253

from corpora.duplicates.kernels import Array, joined, mixed

_LARGEST = uint32(0xFFFFFFFF)
_ONE = uint64(1)
_LANES = 32
_TARGET = 0.97


def bands_of(threshold: float, permutations: int) -> tuple[int, int]:
    """Bands and rows a band: the longest bands that find a pair at the threshold with a chance of 97 % or more.

    A pair of similarity s shares a band of r rows with chance s^r. Longer bands give fewer candidates.
    """
    for rows in range(permutations, 1, -1):
        bands = permutations // rows
        if 1 - (1 - threshold**rows) ** bands >= _TARGET:
            return bands, rows
    return permutations, 1


def permutations_of(count: int, seed: int) -> tuple[Array, Array]:
    """Factors (odd) and terms, uint32."""
    generator = np.random.Generator(np.random.PCG64(seed))
    drawn = generator.integers(0, 1 << 32, (2, count), dtype=np.uint32)
    return drawn[0] | np.uint32(1), drawn[1]


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def signatures(runs: Array, starts: Array, sizes: Array, factors: Array, terms: Array) -> Array:
    """MinHash of each part (uint32; parts, permutations), of at least as many permutations as `sizes` says.

    x is the upper half of a shingle's hash. Four shingles at a time keep the vector units busy: 6 ns a shingle for
    128 permutations instead of 14.
    """
    least = np.empty((len(starts) - 1, len(factors)), np.uint32)
    for part in range(len(starts) - 1):
        size, end = min(len(factors), (sizes[part] + _LANES - 1) // _LANES * _LANES), starts[part + 1]
        mins = least[part]
        mins[:size] = _LARGEST
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


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
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


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def band_hashes(least: Array, sizes: Array, common: Array, parts: int, bands: int) -> Array:
    """Hash of each band of each row (uint64; bands, rows): of what near duplicates have in common, and of its mins.

    So a pair whose parts have similarities s₁ … sₙ shares a band with chance s₁^r₁ … sₙ^rₙ: both the prompt and the
    answer must be alike. 0: the row has no near duplicates.
    """
    hashes = np.zeros((bands, len(common)), np.uint64)
    for row in range(len(common)):
        if not common[row]:
            continue
        for band in range(bands):
            one, two = common[row], uint64(band)
            for part in range(row * parts, (row + 1) * parts):
                each = sizes[part] // bands
                for j in range(band * each, (band + 1) * each):
                    one, two = joined(one, two, uint64(least[part, j]))
            hashes[band, row] = max(mixed(one ^ mixed(two)), _ONE)
    return hashes


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def sets(runs: Array, starts: Array, long: Array) -> tuple[Array, Array]:
    """The distinct shingles of each long part in rising order (uint64), and where those of each part begin (int64)."""
    kept = np.empty(len(runs), np.uint64)
    begins = np.zeros(len(starts), np.int64)
    made = 0
    for part in range(len(starts) - 1):
        if not long[part]:
            begins[part + 1] = made
            continue
        ordered = np.sort(runs[starts[part] : starts[part + 1]])
        for at in range(len(ordered)):
            if at == 0 or ordered[at] != ordered[at - 1]:
                kept[made] = ordered[at]
                made += 1
        begins[part + 1] = made
    return kept[:made], begins


@njit(cache=True, nogil=True)  # type: ignore[untyped-decorator]
def similarities(kept: Array, begins: Array, common: Array, parts: int, first: Array, second: Array) -> Array:
    """Of each pair of rows the least Jaccard similarity of their long parts (float64).

    0 where what near duplicates have in common differs. kept, begins: of `sets`.
    """
    found = np.zeros(len(first), np.float64)
    for pair in range(len(first)):
        one, two = first[pair], second[pair]
        if common[one] != common[two]:
            continue
        found[pair] = 1.0
        for part in range(parts):
            here, there = one * parts + part, two * parts + part
            a, b = begins[here], begins[there]
            total, same = begins[here + 1] - a + begins[there + 1] - b, 0
            while a < begins[here + 1] and b < begins[there + 1]:
                left, right = kept[a], kept[b]
                same += left == right
                a += left <= right
                b += right <= left
            if total:
                found[pair] = min(found[pair], same / (total - same))
    return found

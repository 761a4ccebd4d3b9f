"""Which rows a source gives to a mixture, so that its units come out as planned: whole passes, then a part of one.

Each pass goes through the source's rows in an order of its own. In the last one, rows are read up to a short
stretch before the planned units are full, and of that stretch those rows are taken whose units add up closest to
what is still missing (subset sums of 32 rows: as a rule exactly). So a mixture does not merely come within a
document of its shares: it ends on them.
"""

from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any

from lineage.hashing import text_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

_ROUNDS = 6
_BLOCK = 1 << 16
_STRETCH = 32
_MOST_UNITS = 1 << 21
"""Of a stretch: its subset sums take that many bits a row (8 MB in all). Of very long documents it has fewer rows."""


@dataclass(frozen=True)
class Permutation:
    """A bijection of 0 … size−1, fixed by its key: an order without a list of indices.

    A balanced Feistel network over the next power of four, with cycle walking for the places beyond the size (Black
    and Rogaway 2002). Any place is computed on its own, so the state of a shuffle is its key and a counter.
    """

    size: int
    key: str

    def slice(self, start: int, stop: int) -> "Indices":
        """The elements at places start … stop−1 of the permuted order, as int64."""
        from corpora.mixing import kernels

        if not 0 <= start <= stop <= self.size:
            raise IndexError(f"places {start}:{stop} of a permutation of {self.size}")
        places: Indices = kernels.permute(start, stop, self.size, self._half_bits, self._round_keys)
        return places

    @cached_property
    def _half_bits(self) -> int:
        return max(1, -(-max(1, self.size - 1).bit_length() // 2))

    @cached_property
    def _round_keys(self) -> Any:
        import numpy as np

        return np.array([int(text_digest(f"{self.key}/{index}")[:16], 16) for index in range(_ROUNDS)], np.uint64)


@dataclass(frozen=True)
class Selection:
    """What one source gives, in order: the first `straight` rows of its passes, one pass after another, then the
    rows `closing` of the pass that this ends in. `units` is what all of them hold."""

    rows: int
    key: str
    straight: int
    closing: tuple[int, ...]
    units: int

    @property
    def count(self) -> int:
        """Rows given in all, repeats counted."""
        return self.straight + len(self.closing)

    def epoch(self, place: int) -> int:
        """The pass (from 0) that the row at this place belongs to."""
        return place // self.rows

    def slice(self, start: int, stop: int) -> "Indices":
        """Numbers of the rows at places start … stop−1 of what is given."""
        import numpy as np

        found = []
        straight_start, straight_stop = min(start, self.straight), min(stop, self.straight)
        for epoch in range(straight_start // self.rows, -(-straight_stop // self.rows)):
            first = epoch * self.rows
            begin, end = max(straight_start, first), min(straight_stop, first + self.rows)
            found.append(_order(self.rows, self.key, epoch).slice(begin - first, end - first))
        closing = self.closing[max(0, start - self.straight) : max(0, stop - self.straight)]
        return np.concatenate([*found, np.array(closing, np.int64)])


def select(units: Any, key: str, quota: int) -> Selection:
    """The rows that hold `quota` units, or as close to it as can be.

    units: of each row of the source, as an integer array. key: of its order; each pass adds its number.
    """
    import numpy as np

    rows, once = len(units), int(units.sum(dtype=np.int64))
    passes, rest = divmod(quota, once)
    order = _order(rows, key, passes)
    crossing, before = _crossing(units, order, rest)
    half = _STRETCH // 2
    while True:
        begin = max(0, crossing - half)
        stretch = order.slice(begin, min(rows, crossing + half))
        lengths = [int(length) for length in units[stretch]]
        if sum(lengths) <= _MOST_UNITS or half == 1:
            break
        half //= 2
    before -= sum(lengths[: crossing - begin])
    taken = closest(lengths, rest - before)
    held = passes * once + before + sum(lengths[index] for index in taken)
    return Selection(rows, key, passes * rows + begin, tuple(int(stretch[index]) for index in taken), held)


def closest(lengths: list[int], wanted: int) -> list[int]:
    """Indices of the lengths whose sum is closest to `wanted`, the lower on a tie; early ones are preferred."""
    sums = [1]  # bit n of sums[i]: some of the first i lengths add up to n
    for length in lengths:
        sums.append(sums[-1] | sums[-1] << length)
    below = (sums[-1] & ((2 << wanted) - 1)).bit_length() - 1
    beyond = sums[-1] >> wanted
    above = wanted + (beyond & -beyond).bit_length() - 1 if beyond else below
    rest = min(below, above, key=lambda total: abs(total - wanted))
    taken = []
    for index in reversed(range(len(lengths))):
        if not sums[index] >> rest & 1:
            taken.append(index)
            rest -= lengths[index]
    return taken[::-1]


def _crossing(units: Any, order: Permutation, rest: int) -> tuple[int, int]:
    """The first place of a pass at which more than `rest` units have been read, and the units before it."""
    import numpy as np

    before = 0
    for start in range(0, order.size, _BLOCK):
        lengths = units[order.slice(start, min(start + _BLOCK, order.size))]
        sums = before + np.cumsum(lengths, dtype=np.int64)
        if sums[-1] > rest:
            place = int(np.searchsorted(sums, rest, side="right"))
            return start + place, int(sums[place]) - int(lengths[place])
        before = int(sums[-1])
    raise AssertionError("a pass holds more units than what is left of it")


@lru_cache(maxsize=256)
def _order(rows: int, key: str, epoch: int) -> Permutation:
    return Permutation(rows, f"{key}/{epoch}")

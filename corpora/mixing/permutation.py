"""A keyed permutation of the rows of a source: shuffling without a list of indices.

A balanced Feistel network over the next power of four, with cycle walking for the places beyond the size (Black
and Rogaway 2002). Any place is computed on its own, so the state of a shuffle is its key and a counter, and each
epoch of each source has an order of its own.
"""

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from lineage.hashing import text_digest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Indices = NDArray[np.int64]

_ROUNDS = 6


@dataclass(frozen=True)
class Permutation:
    """A bijection of 0 … size−1, fixed by its key."""

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

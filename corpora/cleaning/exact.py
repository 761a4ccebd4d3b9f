"""Which rows have been seen before: an index of 16-byte keys for the exact duplicates of a source.

The keys lie in sorted numpy arrays, cut into 64 parts by their first byte; new ones are added as short runs that
are merged as they grow, so that an index of n keys takes 16 bytes a key and, while a part is merged, 2 % more. A
Python set of the same keys takes about 110 bytes a key.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

KEY_BYTES = 16
"""Half of a sha256: among 10¹² rows the odds of one wrong hit are 1 in 10¹⁴."""

_PARTS = 64


class Seen:
    """Keys seen so far."""

    def __init__(self) -> None:
        self._parts: list[list[np.ndarray]] = [[] for _ in range(_PARTS)]

    def first(self, keys: bytes) -> "np.ndarray":
        """For each of the keys, 16 bytes each and back to back, whether it comes here for the first time ever."""
        import numpy as np

        distinct, places = np.unique(np.frombuffer(keys, f"S{KEY_BYTES}"), return_index=True)
        leading = distinct.view(np.uint8).reshape(-1, KEY_BYTES)[:, 0]
        ends = np.searchsorted(leading, np.arange(1, _PARTS + 1) * (256 // _PARTS))
        new = np.ones(len(distinct), bool)
        start = 0
        for part, end in zip(self._parts, ends.tolist(), strict=True):
            if start < end:
                new[start:end] = _added(part, distinct[start:end])
            start = end
        first = np.zeros(len(keys) // KEY_BYTES, bool)
        first[places[new]] = True
        return first

    @property
    def nbytes(self) -> int:
        """What the keys take."""
        return sum(run.nbytes for part in self._parts for run in part)


def _added(runs: "list[np.ndarray]", keys: "np.ndarray") -> "np.ndarray":
    """Which of the sorted keys no run holds; these become one more run, and runs no longer than it join it."""
    import numpy as np

    new = np.ones(len(keys), bool)
    for run in runs:
        places = np.minimum(np.searchsorted(run, keys), len(run) - 1)
        new &= run[places] != keys
    if new.any():
        run = keys[new]
        while runs and len(runs[-1]) <= 2 * len(run):
            run = np.concatenate([runs.pop(), run])
            run.sort(kind="stable")
        runs.append(run)
    return new

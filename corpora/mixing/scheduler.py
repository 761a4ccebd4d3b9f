"""Which member gives the next row: the one that is furthest behind its share.

At every step the next pick is argmax(share·T − emitted), where T is what all have emitted so far; ties go to the
first member. The deficits sum to zero, so the pick's is never negative: at every prefix a member is ahead of its
share by at most one row, and behind it by at most k−1 rows, of the largest row's units.

Works on units alone, in one pass and with k counters as its whole state. What is in a row, which shares are
possible, and what to do when a member runs out is left to `shares` and `mixture`.
"""

import math
from collections.abc import Iterator, Sequence
from typing import TypeVar

Pick = TypeVar("Pick", bound=tuple[int, ...])
"""A row as the scheduler sees it: its units first, then whatever its stream says of it."""


def schedule(shares: Sequence[float], streams: Sequence[Iterator[Pick]], size: float = math.inf) -> Iterator[Pick]:
    """Merge streams of rows so that at every prefix each has emitted its share of all units.

    shares: one for each stream, summing to 1. Ends with the row that reaches `size` units, or when all streams
    have ended; one that ends earlier is left out from then on. A schedule is itself a stream, so groups of
    sources are schedules of schedules. One loop over locals: about a million rows a second.
    """
    if len(streams) == 1 and size == math.inf:
        yield from streams[0]
        return
    weights, emitted, total = list(shares), [0] * len(shares), 0
    following = [stream.__next__ for stream in streams]
    while following and total < size:
        best, most = 0, weights[0] * total - emitted[0]
        for member in range(1, len(weights)):
            deficit = weights[member] * total - emitted[member]
            if deficit > most:
                best, most = member, deficit
        try:
            pick = following[best]()
        except StopIteration:
            del weights[best], emitted[best], following[best]
            continue
        emitted[best] += pick[0]
        total += pick[0]
        yield pick


def error_bound(members: int, largest: int, total: int) -> float:
    """How far a share of `total` units can be off, as a fraction: (k−1) rows of the largest row's units."""
    return (members - 1) * largest / total if total else 1.0

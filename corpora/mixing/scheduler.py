"""Which source gives the next row: of the group that is furthest behind its share, the source that is.

**Rule.** With T units emitted in all, e of them by a member of weight w, the member's deficit is d = w·T − e. The
next row comes from the member with the largest deficit, the first on a tie: first among the groups, with T the
units of the mixture, then among the chosen group's sources, with T the units of the group.

**Bound**, at every prefix. The deficits of the k members of one level sum to zero, so the chosen one is never
negative. A row of u units lowers the deficit of its own member by (1−w)·u and raises each other's by its w·u.

*Ahead.* A deficit falls only from a value ≥ 0, by at most (1−w)·L, with L the member's largest row: no member is
ever ahead of its share by more than A = (1−w)·L.

*Behind.* What one is behind, the others are ahead: by no more than the sum of their A. A second limit is often
lower. Let D(S) be the sum of the deficits of a set S of j members, w(S) of their weights, M(S) the most that D(S)
ever is. D(S) grows only when a member i outside S is chosen, whose deficit then is at least the mean D(S)/j; so
D(S + i) ≥ D(S)·(j+1)/j, thus D(S) ≤ M(S + i)·j/(j+1) before the row and at most w(S)·L more after it. As M of all
members is 0, going up from S = {one member} by j = 1 … k−1 gives M ≤ sum over j of w(S_j)·L/j: with L the largest
row of the others and S_j the member and the j−1 heaviest others. B is the lower of the two limits.

*Nested.* For a source (weight v in its group, deficit d there) inside a group (weight w, deficit D),

    w·v·T − e = v·(w·T − E) + (v·E − e) = v·D + d,

so it is ahead by at most v·A(group) + A(source) and behind by at most v·B(group) + B(source).

That holds to the last row: each source gives a fixed list of rows (`selection`), and the weights are what these
lists hold. A source whose list is at its end has deficit w·(T − total) ≤ 0 until all are, so it is missed by none.

The state is three counters a source, from which a schedule goes on exactly as if it had never stopped. Which rows
a source gives and which shares are possible is left to `selection` and `shares`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from corpora.mixing.selection import Selection

_WAITING = 1 << 20
"""Rows looked up ahead, of all sources together; 12 bytes each."""


@dataclass(frozen=True)
class Member:
    """A source that gives rows: which ones, and the units of each row that it has (an integer array)."""

    group: str
    source: str
    selection: Selection
    units: Any


class Counter(NamedTuple):
    """Where a source stands: its pass, the place in it of its next row, the units that it has given."""

    epoch: int
    cursor: int
    emitted: int


class Picks(NamedTuple):
    """Rows in training order, as arrays: number of the member, number of the row in its source, pass."""

    member: Any
    row: Any
    epoch: Any


class Schedule:
    """The rows of a mixture in training order, taken a block at a time. Memory: one block and 12 MB."""

    def __init__(self, members: Sequence[Member], state: Sequence[Counter] | None = None) -> None:
        """members: sorted by group and source. state: of another schedule of the same members, to go on from it."""
        import numpy as np

        self.members = list(members)
        starts = state or [Counter(0, 0, 0)] * len(members)
        self._next = [c.epoch * m.selection.rows + c.cursor for m, c in zip(members, starts, strict=True)]
        self._emitted = np.array([counter.emitted for counter in starts], np.int64)
        self._left = np.array([m.selection.count for m in members], np.int64) - self._next
        groups = [member.group for member in members]
        self._first = np.array([i for i, g in enumerate(groups) if g not in groups[:i]] + [len(groups)], np.int64)
        held = np.array([member.selection.units for member in members], np.float64)
        by_group = np.add.reduceat(held, self._first[:-1])
        self._group_weights = by_group / held.sum()
        self._weights = held / np.repeat(np.maximum(by_group, 1), np.diff(self._first))
        self._ahead = max(256, _WAITING // len(members))
        self._rows = [np.empty(0, np.int64) for _ in members]
        self._units = np.empty((len(members), self._ahead), np.int32)
        self._at, self._filled = np.zeros(len(members), np.int64), np.zeros(len(members), np.int64)

    @property
    def state(self) -> list[Counter]:
        """From which another schedule of the same members goes on with the next row."""
        return [
            Counter(*divmod(place, member.selection.rows), emitted=int(emitted))
            for member, place, emitted in zip(self.members, self._next, self._emitted, strict=True)
        ]

    def take(self, rows: int) -> Picks:
        """The next `rows` rows, fewer at the end."""
        import numpy as np

        from corpora.mixing import kernels

        found = Picks(np.empty(rows, np.int32), np.empty(rows, np.int64), np.empty(rows, np.int32))
        done = 0
        while done < rows and self._left.any():
            self._look_ahead()
            before = self._at.copy()
            group_emitted = np.add.reduceat(self._emitted, self._first[:-1])
            counters = (group_emitted, self._emitted, self._left, self._units, self._at, self._filled)
            picked = found.member[done:]
            count = kernels.pick(self._group_weights, self._first, self._weights, *counters, picked)
            part = Picks(*(column[done : done + count] for column in found))
            for number in np.flatnonzero(self._at > before):
                self._enter(part, int(number), int(before[number]))
            done += count
        return Picks(*(column[:done] for column in found))

    def _look_ahead(self) -> None:
        """Look up the next rows of each source that has none waiting."""
        import numpy as np

        for number in np.flatnonzero((self._at == self._filled) & (self._left > 0)):
            member, place = self.members[number], self._next[number]
            rows = member.selection.slice(place, place + min(self._ahead, int(self._left[number])))
            self._rows[number] = rows
            self._units[number, : len(rows)] = member.units[rows]
            self._at[number], self._filled[number] = 0, len(rows)

    def _enter(self, part: Picks, number: int, before: int) -> None:
        """Say which rows those were that were picked of one member."""
        import numpy as np

        where = np.flatnonzero(part.member == number)
        part.row[where] = self._rows[number][before : self._at[number]]
        first = self._next[number]
        part.epoch[where] = np.arange(first, first + len(where)) // self.members[number].selection.rows
        self._next[number] += len(where)


class Bound(NamedTuple):
    """How many units a member can be ahead of its share and behind it, at any prefix."""

    ahead: float
    behind: float


def bounds(weights: Mapping[str, float], largest: Mapping[str, int]) -> dict[str, Bound]:
    """Of the members of one level, by their weights (summing to 1) and the units of their largest rows."""
    ahead = {name: (1 - weight) * largest[name] for name, weight in weights.items()}
    total = sum(ahead.values())
    return {name: Bound(own, min(total - own, _behind(name, weights, largest))) for name, own in ahead.items()}


def _behind(name: str, weights: Mapping[str, float], largest: Mapping[str, int]) -> float:
    """The second limit: sum over j of w(S_j)·L/j."""
    others = sorted((weight for other, weight in weights.items() if other != name), reverse=True)
    of_sets = accumulate(others[:-1], initial=weights[name])
    row = max((units for other, units in largest.items() if other != name), default=0)
    return sum(weight * row / size for size, weight in enumerate(of_sets, 1)) if others else 0.0


def nested(outer: Bound, inner: Bound, weight: float) -> Bound:
    """Of a source in the whole mixture: of its group there, its own in the group, its weight in the group."""
    return Bound(weight * outer.ahead + inner.ahead, weight * outer.behind + inner.behind)

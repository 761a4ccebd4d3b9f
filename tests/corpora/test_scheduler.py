"""The deficit scheduler: its bounds at every prefix of both levels, the plain rule's picks, exact resumption."""

import itertools
from collections import Counter
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from corpora.mixing.scheduler import Bound, Member, Schedule, bounds, nested
from corpora.mixing.selection import Selection, select

ROUNDING = 1e-6
Lengths = list[list[list[int]]]
"""Units of the rows of each source of each group."""

_rows = st.lists(st.one_of(st.integers(1, 9), st.integers(1, 5000)), min_size=1, max_size=40)
_groups = st.lists(st.lists(_rows, min_size=1, max_size=4), min_size=1, max_size=4)
_thorough = settings(max_examples=150, deadline=None, derandomize=True)


def whole(lengths: Lengths) -> list[Member]:
    """Members that give all their rows once, in their own order."""
    return [
        Member(
            f"g{group}",
            f"g{group}s{source}",
            Selection(len(rows), "", 0, tuple(range(len(rows))), sum(rows)),
            np.array(rows, np.int32),
        )
        for group, sources in enumerate(lengths)
        for source, rows in enumerate(sources)
    ]


def picked(schedule: Schedule, block: int = 1000) -> list[tuple[int, int, int]]:
    blocks = iter(lambda: schedule.take(block), None)
    found = itertools.takewhile(lambda picks: len(picks.row), blocks)
    return [pick for picks in found for pick in zip(*(column.tolist() for column in picks), strict=True)]


def plain(members: list[Member]) -> Iterator[int]:
    """The rule, word for word: the group furthest behind its share, in it the source furthest behind its own."""
    groups = list(dict.fromkeys(member.group for member in members))
    inside = {g: [i for i, member in enumerate(members) if member.group == g] for g in groups}
    streams = [iter(m.selection.slice(0, m.selection.count).tolist()) for m in members]
    left = [m.selection.count for m in members]
    held = [float(m.selection.units) for m in members]
    emitted = [0] * len(members)
    of_group = {g: sum(held[i] for i in inside[g]) for g in groups}
    while any(left):
        done = {g: sum(emitted[i] for i in inside[g]) for g in groups}
        total = sum(done.values())
        open_groups = [g for g in groups if any(left[i] for i in inside[g])]
        group = max(open_groups, key=lambda g: of_group[g] / sum(held) * total - done[g])
        waiting = [i for i in inside[group] if left[i]]
        source = max(waiting, key=lambda i: held[i] / of_group[group] * done[group] - emitted[i])
        emitted[source] += int(members[source].units[next(streams[source])])
        left[source] -= 1
        yield source


@given(lengths=_groups)
@_thorough
def test_the_compiled_loop_picks_what_the_plain_rule_picks(lengths: Lengths) -> None:
    members = whole(lengths)
    assert [member for member, _, _ in picked(Schedule(members), 7)] == list(plain(members))


@given(lengths=_groups)
@_thorough
def test_no_group_and_no_source_strays_beyond_its_bound_at_any_prefix(lengths: Lengths) -> None:
    members = whole(lengths)
    held = {f"g{g}": sum(sum(rows) for rows in sources) for g, sources in enumerate(lengths)}
    longest = {f"g{g}": max(max(rows) for rows in sources) for g, sources in enumerate(lengths)}
    size = sum(held.values())
    outer = bounds({g: units / size for g, units in held.items()}, longest)
    allowed: dict[str, tuple[float, Bound]] = {g: (units / size, outer[g]) for g, units in held.items()}
    for member in members:
        inside = [m for m in members if m.group == member.group]
        weights = {m.source: m.selection.units / held[m.group] for m in inside}
        inner = bounds(weights, {m.source: int(m.units.max()) for m in inside})[member.source]
        weight = weights[member.source]
        allowed[member.source] = (member.selection.units / size, nested(outer[member.group], inner, weight))
    emitted, total = Counter[str](), 0
    for number, row, _ in picked(Schedule(members)):
        units = int(members[number].units[row])
        emitted[members[number].group] += units
        emitted[members[number].source] += units
        total += units
        for name, (share, bound) in allowed.items():
            assert -bound.behind - ROUNDING <= emitted[name] - share * total <= bound.ahead + ROUNDING
    assert total == size


def test_the_bound_is_reached() -> None:
    members = whole([[[1000]], [[1] * 1000]])
    [first, *_] = picked(Schedule(members))
    limits = bounds({"g0": 0.5, "g1": 0.5}, {"g0": 1000, "g1": 1})
    assert first == (0, 0, 0)
    assert 1000 - 0.5 * 1000 == limits["g0"].ahead == limits["g1"].behind


def test_many_equal_members_are_never_a_whole_row_behind() -> None:
    limits = bounds({str(n): 0.05 for n in range(20)}, {str(n): 300 for n in range(20)})
    assert all(limit.behind == pytest.approx(0.95 * 300) for limit in limits.values())


@given(lengths=_groups, data=st.data())
@_thorough
def test_a_resumed_schedule_is_the_rest_of_the_whole_one(lengths: Lengths, data: st.DataObject) -> None:
    members = [
        Member(m.group, m.source, select(m.units, m.source, data.draw(st.integers(1, 3 * m.selection.units))), m.units)
        for m in whole(lengths)
    ]
    members = [member for member in members if member.selection.count]
    assume(members)
    all_of_it = picked(Schedule(members))
    done = data.draw(st.integers(0, len(all_of_it)))
    first = Schedule(members)
    before = [pick for picks in [first.take(done)] for pick in zip(*(c.tolist() for c in picks), strict=True)]
    resumed = Schedule(members, first.state)
    assert before + picked(resumed, 3) == all_of_it
    assert resumed.state == [(*divmod(m.selection.count, m.selection.rows), m.selection.units) for m in members]


def test_equal_rows_alternate_and_ties_go_to_the_first() -> None:
    assert [member for member, _, _ in picked(Schedule(whole([[[1] * 3], [[1] * 3]])))] == [0, 1, 0, 1, 0, 1]


def test_blocks_of_any_size_give_the_same_rows() -> None:
    rng = np.random.default_rng(3)
    members = whole([[rng.integers(1, 99, 500).tolist(), rng.integers(1, 9, 700).tolist()], [[5] * 300]])
    assert picked(Schedule(members), 1) == picked(Schedule(members), 333) == picked(Schedule(members), 10_000)


def test_sources_longer_than_what_is_looked_up_ahead_are_read_on(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(4)
    members = whole([[rng.integers(1, 99, 900).tolist()], [rng.integers(1, 9, 2500).tolist()]])
    far = picked(Schedule(members))
    monkeypatch.setattr("corpora.mixing.scheduler._WAITING", 1)
    assert picked(Schedule(members)) == far
